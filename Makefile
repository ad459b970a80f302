# SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#
#   make run     install what is missing, build, and run the main job with its defaults
#   make test    install what is missing, build, and run every test
#   make test-module  only those of the kernel module, in a small Linux under QEMU
#   make test-bare  only those of bare/: hypervisors without an operating system, under QEMU
#   make mutants put each known defect back into core: its scenario must find it
#
# Others: build (leaves build/gmm), install and uninstall (PREFIX, DESTDIR), deb, bench, check (all gates but
# the tests), explore (every order of the scenarios' steps; docs/EXPLORE.md), explore-deep (for hours), mutants, schedules (those that are kept, anew), fuzz (each fuzz target for FUZZ_SECONDS, 60), fuzz-coverage, test-deep (long tests), soak (random runs for SOAK_SECONDS, an hour), format, clean.
# Variables: ARGS for `gmm run`, TESTS to name tests, WERROR=false for compilers
# newer than the ones the gates use. Meson and ninja do the work.
BUILD ?= build
TEST_BUILD ?= $(BUILD)/test
WERROR ?= true
ARGS ?=
TESTS ?=
PREFIX ?= /usr/local
DESTDIR ?=
SOAK_SECONDS ?= 3600
EXPLORE_SECONDS ?= 120
FUZZ_SECONDS ?= 60

MESON_TEST = meson test -C $(TEST_BUILD) --no-rebuild --print-errorlogs

.PHONY: all build install uninstall deb run test test-build test-bare test-module test-deep soak fuzz fuzz-coverage explore explore-deep mutants schedules bench check format clean

all: build

build:
	@scripts/install-packages build
	@scripts/configure $(BUILD)
	@ninja -C $(BUILD)

install:
	@scripts/install-packages build
	@scripts/configure $(BUILD) -Dprefix=$(PREFIX)
	@ninja -C $(BUILD)
	@meson install -C $(BUILD) --no-rebuild $(if $(DESTDIR),--destdir $(abspath $(DESTDIR)))

# Removes what the last `make install` of this build directory installed.
uninstall:
	@ninja -C $(BUILD) uninstall

# Debian packages, in $(BUILD)/deb.
deb:
	@scripts/install-packages build deb
	@scripts/build-deb $(BUILD)/deb

run: build
	@$(BUILD)/gmm run $(ARGS)

test-build:
	@scripts/install-packages build test snapshot browser
	@scripts/install-packages bare || echo 'the machines of bare/ will be skipped'
	@scripts/install-packages module || echo 'the kernel module will not be tried'
	@scripts/configure $(TEST_BUILD) -Dtests=true -Dwerror=$(WERROR)
	@ninja -C $(TEST_BUILD)

test: test-build
	@$(MESON_TEST) --no-suite deep $(TESTS)

test-bare: test-build
	@$(MESON_TEST) --suite bare $(TESTS)

test-module: test-build
	@$(MESON_TEST) --suite kmod $(TESTS)

test-deep: test-build
	@$(MESON_TEST) --suite deep $(TESTS)

mutants: test-build
	@scripts/mutants $(TEST_BUILD)

schedules: test-build
	@scripts/mutants --keep $(TEST_BUILD)

soak: test-build
	@scripts/soak --gmm $(TEST_BUILD)/gmm --out $(BUILD)/soak.json --seconds $(SOAK_SECONDS)

fuzz:
	@scripts/install-packages build test
	@scripts/fuzz --build $(BUILD)/fuzz --seconds $(FUZZ_SECONDS)

# What the corpora of the fuzz targets reach of core.
fuzz-coverage:
	@scripts/install-packages build test
	@scripts/fuzz-coverage --build $(BUILD)/coverage

explore:
	@scripts/install-packages build test
	@EXPLORE_VERBOSE=1 scripts/checks/explore

explore-deep: test-build
	@for program in gmm-explore gmm-explore-plain; do for kind in --deep '--deep --early-wakes 1' '--random 1' '--priorities 1'; do \
		$(TEST_BUILD)/explore/$$program $$kind --jobs $$(nproc) --seconds $(EXPLORE_SECONDS) --output $(BUILD) || exit 1; done; done

bench:
	@scripts/install-packages build bench
	@scripts/configure $(BUILD)
	@ninja -C $(BUILD) bench

check:
	@scripts/install-packages build test
	@scripts/run-gates

format:
	@scripts/checks/format --fix

clean:
	@rm -rf -- $(BUILD)
