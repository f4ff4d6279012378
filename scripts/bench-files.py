#!/usr/bin/env python3
"""Makes the files that `lettercase bench intake` is measured with (docs/performance.md): bench-files.py large|small DIR

large: pictures of noise and texts of 1 to 63 MiB, 316 MB in all. small: 1,000 texts of 10 KB. The same each time.
"""

import random
import struct
import sys
import zlib
from pathlib import Path

MIB = 1 << 20
WORDS = (
    "the claim was denied because no record came with it and we ask to look again at what the doctor wrote after the "
    "visit for care that was needed then as her chart shows from day to day"
).split()


def text(chance: random.Random, size: int) -> bytes:
    lines = []
    length = 0
    while length < size:
        line = " ".join(chance.choice(WORDS) for _ in range(14)) + ".\n"
        lines.append(line)
        length += len(line)
    return "".join(lines).encode()[:size]


def picture(chance: random.Random, size: int) -> bytes:
    """A PNG of noise, which no compression makes smaller."""
    side = int((size / 3) ** 0.5)
    rows = b"".join(b"\0" + chance.randbytes(3 * side) for _ in range(side))
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(rows, 1)), (b"IEND", b"")]
    parts = [struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body)) for name, body in chunks]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def main() -> None:
    what, place = sys.argv[1], Path(sys.argv[2])
    place.mkdir(parents=True, exist_ok=True)
    chance = random.Random(8)
    if what == "small":
        for n in range(1_000):
            (place / f"{n:04}.txt").write_bytes(text(chance, 10_000))
        return
    for n, mib in enumerate([1, 1, 1, 1, 2, 2, 2, 2, 4, 4, 4, 8, 8, 16, 16, 32, 63]):
        (place / f"{n:02}-picture.png").write_bytes(picture(chance, mib * MIB))
    for n, mib in enumerate([1, 1, 1, 2, 2, 4, 4, 8, 16, 32, 63]):
        (place / f"{n:02}-text.txt").write_bytes(text(chance, mib * MIB))


main()
