#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
"""flatten.py digest DIR: the digest of the memory in a snapshot directory, by what docs/SNAPSHOT.md says.
flatten.py lengthen DIR: repeats the last increment under new names until the chain has 64 files."""
import array
import json
import os
import shutil
import sys

PRIME = 0x100000001B3


def memory_of(directory, manifest):
    page = manifest["page_bytes"]
    count = manifest["page_count"]
    with open(os.path.join(directory, manifest["chain"][0]["name"]), "rb") as file:
        memory = bytearray(file.read())
    assert len(memory) == page * count
    for entry in manifest["chain"][1:]:
        with open(os.path.join(directory, entry["name"]), "rb") as file:
            data = file.read()
        assert len(data) == entry["bytes"]
        at = ((count + 7) // 8 + page - 1) // page * page
        for number in range(count):
            if data[number // 8] >> number % 8 & 1:
                memory[number * page : (number + 1) * page] = data[at : at + page]
                at += page
        assert at == len(data)
    return memory


def digest_of(memory):
    digest = 0
    for word in array.array("Q", bytes(memory)):
        digest = (digest * PRIME + word) & 0xFFFFFFFFFFFFFFFF
    return f"{digest:016x}"


def main():
    command, directory = sys.argv[1:]
    path = os.path.join(directory, "manifest.json")
    with open(path) as file:
        manifest = json.load(file)
    if command == "digest":
        print(digest_of(memory_of(directory, manifest)))
        return
    last = manifest["chain"][-1]
    while len(manifest["chain"]) < 64:
        name = f"increment-{len(manifest['chain']):016x}.pages"
        shutil.copy(os.path.join(directory, last["name"]), os.path.join(directory, name))
        manifest["chain"].append({**last, "name": name})
    with open(path, "w") as file:
        json.dump(manifest, file)


main()
