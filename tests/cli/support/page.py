#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
"""What tests ask about the page of `gmm run --report` as a browser has it.

page.py numbers DOM JSON        the numbers in the tables are those of --json
page.py attribute DOM NAME      an attribute of the html element
page.py text DOM ID             the text in an element
page.py colours PNG BOXES       boxes as JSON, {name: [x, y, width, height]}: a line for each: distinct colours, and
                                how many of 10000 pixels have a colour and are no shade of grey
"""
import html.parser
import json
import struct
import sys
import zlib

VOID = {"meta", "br", "img", "input", "hr", "link"}


class Dom(html.parser.HTMLParser):
    """Texts by id, values by data-key, attributes of html."""

    def __init__(self, path):
        super().__init__(convert_charrefs=True)
        self.open = []
        self.text = {}
        self.values = {}
        self.html = {}
        with open(path, encoding="utf-8") as file:
            self.feed(file.read())

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        if tag == "html":
            self.html = attributes
        if "data-key" in attributes:
            self.values[attributes["data-key"]] = int(attributes["data-value"])
        if tag not in VOID:
            self.open.append((tag, attributes.get("id")))

    def handle_endtag(self, tag):
        while self.open and self.open.pop()[0] != tag:
            pass

    def handle_data(self, data):
        for _, name in self.open:
            if name:
                self.text[name] = self.text.get(name, "") + data


def flatten(results):
    for group, rows in results.items():
        if isinstance(rows, dict):
            for name, value in rows.items():
                if isinstance(value, dict):
                    for column, number in value.items():
                        yield f"{group}.{name}.{column}", number
                else:
                    yield f"{group}.{name}", value


def numbers(dom, results):
    with open(results, encoding="utf-8") as file:
        wanted = dict(flatten(json.load(file)))
    shown = Dom(dom).values
    if shown != wanted or len(wanted) < 40:
        for key in sorted(set(shown) | set(wanted)):
            if shown.get(key) != wanted.get(key):
                print(f"{key}: the page has {shown.get(key)}, --json {wanted.get(key)}")
        return 1
    print(len(wanted))
    return 0


def rows_of(path):
    """Rows of pixels of a PNG with 8 bits a channel that is not interlaced."""
    with open(path, "rb") as file:
        content = file.read()
    assert content[:8] == b"\x89PNG\r\n\x1a\n", "no PNG"
    at, packed = 8, b""
    while at < len(content):
        length, kind = struct.unpack(">I4s", content[at:at + 8])
        if kind == b"IHDR":
            width, height, depth, colour, _, _, interlaced = struct.unpack(">IIBBBBB", content[at + 8:at + 21])
        elif kind == b"IDAT":
            packed += content[at + 8:at + 8 + length]
        at += 12 + length
    assert depth == 8 and colour in (2, 6) and not interlaced, "a PNG of another kind"
    step = 3 if colour == 2 else 4
    raw, stride, before = zlib.decompress(packed), width * step, bytearray(width * step)
    for y in range(height):
        how = raw[y * (stride + 1)]
        line = bytearray(raw[y * (stride + 1) + 1:(y + 1) * (stride + 1)])
        for i in range(stride if how else 0):
            left = line[i - step] if i >= step else 0
            up, corner = before[i], before[i - step] if i >= step else 0
            if how == 1:
                guess = left
            elif how == 2:
                guess = up
            elif how == 3:
                guess = (left + up) // 2
            else:
                guess = min((abs(up - corner), 0, left), (abs(left - corner), 1, up),
                            (abs(left + up - 2 * corner), 2, corner))[2]
            line[i] = (line[i] + guess) & 255
        before = line
        yield [bytes(line[i:i + 3]) for i in range(0, stride, step)]


def colours(png, boxes):
    boxes = json.loads(boxes)
    found = {name: {} for name in boxes}
    for y, row in enumerate(rows_of(png)):
        for name, (left, top, width, height) in boxes.items():
            if top <= y < top + height:
                for pixel in row[int(left):int(left + width)]:
                    found[name][pixel] = found[name].get(pixel, 0) + 1
    for name, counts in found.items():
        vivid = sum(count for pixel, count in counts.items() if max(pixel) - min(pixel) >= 90)
        print(name, len(counts), 10000 * vivid // (sum(counts.values()) or 1))
    return 0


def main():
    command, *arguments = sys.argv[1:]
    if command == "numbers":
        return numbers(*arguments)
    if command == "colours":
        return colours(*arguments)
    dom = Dom(arguments[0])
    found = dom.html.get(arguments[1]) if command == "attribute" else dom.text.get(arguments[1])
    if found is None:
        return 1
    print(found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
