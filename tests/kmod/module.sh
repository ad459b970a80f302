#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
exec "$GMM_SOURCE/scripts/module-test" "$(dirname "$GMM")/module"
