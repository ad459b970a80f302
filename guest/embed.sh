#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
# embed.sh BINARY OUTPUT: the bytes of BINARY as numbers for an array of C.
set -eu
od -An -v -tu1 -w16 "$1" | sed -e 's/  *\([0-9][0-9]*\)/\1,/g' >"$2"
