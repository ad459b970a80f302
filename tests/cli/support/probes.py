#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
"""probes.py FILE: the USDT tracepoints of provider guestmm: name, arguments, offset in the file."""
import re
import subprocess
import sys


def readelf(option, path):
    return subprocess.run(["readelf", "-W", option, path], check=True, capture_output=True, text=True).stdout


def main():
    path = sys.argv[1]
    loads = [[int(word, 16) for word in line.split()[1:6] if word.startswith("0x")]
             for line in readelf("-l", path).splitlines() if line.split()[:1] == ["LOAD"]]
    pattern = re.compile(r"Provider: guestmm\s+Name: (\w+)\s+Location: (0x[0-9a-f]+).*?Arguments:([^\n]*)", re.S)
    for name, location, arguments in pattern.findall(readelf("-n", path)):
        address = int(location, 16)
        offsets = [address - start + offset for offset, start, _, size, *_ in loads if start <= address < start + size]
        print(name, len(arguments.split()), hex(offsets[0]))


if __name__ == "__main__":
    main()
