#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
"""results.py RESULTS.md JSON OUTPUT: whether the fields of a run's JSON are those of the document, each with the
words of the table that the run printed. Fields of groups that the run does not have are not looked for."""
import json
import re
import sys

ALWAYS = ("run", "vcpus", "engine", "memory", "device", "caches", "dirty")
FAULT = ["served", "held", "failed", "p50_ns", "p99_ns"]


def documented(path):
    """Fields of the first table, and {group: [(name, words)]} of the second."""
    fields, groups = set(), {}
    for line in open(path, encoding="utf-8"):
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if not line.startswith("| `"):
            continue
        if len(cells) == 2:
            fields.update(re.findall(r"`([^`]+)`", cells[0]))
        else:
            rows = [re.fullmatch(r"`([^`]+)` (.+)", row) for row in cells[2].split("; ")]
            groups[cells[0].strip("`")] = [row.groups() for row in rows]
    return fields, groups


def printed(path):
    """{group: [words]} of the table."""
    groups, group = {}, None
    for line in open(path, encoding="utf-8"):
        if re.fullmatch(r"[a-z]+\n", line):
            group = groups.setdefault(line.strip(), [])
        elif line.startswith("  ") and group is not None:
            group.append(re.sub(r"  +\S+( (s|ms|us|ns|bytes))?\n$", "", line).strip())
        else:
            group = None
    return groups


def differences(document, results, output):
    fields, groups = documented(document)
    with open(results, encoding="utf-8") as file:
        found = json.load(file)
    optional = {"save", "save_digest"}
    tables = {name: list(value) for name, value in found.items()
              if isinstance(value, dict) and name != "faults"}
    for name in sorted(set(found) - set(tables) - fields):
        yield f"not documented: {name}"
    for name in sorted(fields - set(found) - optional):
        yield f"not there: {name}"
    for name, kind in found["faults"].items():
        if list(kind) != FAULT:
            yield f"faults.{name} has {list(kind)}"
    words = printed(output)
    for group, names in tables.items():
        if [name for name, _ in groups.get(group, [])] != names:
            yield f"{group} has {names}, and in the document {groups.get(group)}"
        elif [word for _, word in groups[group]] != words.get(group):
            yield f"{group} is printed as {words.get(group)}, and in the document {groups[group]}"
    for group in [*ALWAYS, *found["events"]]:
        if group not in tables:
            yield f"not there: {group}"


if __name__ == "__main__":
    found = list(differences(*sys.argv[1:]))
    print("\n".join(found))
    sys.exit(1 if found else 0)
