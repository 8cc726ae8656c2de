"""From QEMU's screenshot (PPM) to a small PNG, without an imaging library: whole rows are averaged as big integers."""

import struct
import zlib
from dataclasses import dataclass

MAX_WIDTH = 400
MAX_PIXELS = 7680 * 4320


class BadPicture(ValueError):
    """These bytes are no picture that a screen could show."""


@dataclass(frozen=True)
class Picture:
    """Pixels of three bytes each (red, green, blue), row by row."""

    width: int
    height: int
    pixels: bytes


def read_ppm(data: bytes) -> Picture:
    """Raises BadPicture."""
    words: list[bytes] = []
    at = 0
    while len(words) < 4:
        end = at
        while end < len(data) and not data[end : end + 1].isspace():
            end += 1
        if end >= len(data) or end - at > 32:
            raise BadPicture("no PPM header")
        word = data[at:end]
        if word.startswith(b"#"):
            raise BadPicture("a PPM with comments")
        if word:
            words.append(word)
        at = end + 1
    if words[0] != b"P6" or words[3] != b"255" or not (words[1].isdigit() and words[2].isdigit()):
        raise BadPicture("not a PPM of 8 bits per colour")
    width, height = int(words[1]), int(words[2])
    if not 0 < width * height <= MAX_PIXELS or len(data) - at < width * height * 3:
        raise BadPicture("a PPM of another size than it says")
    return Picture(width, height, data[at : at + width * height * 3])


def _average(one: bytes, other: bytes) -> bytes:
    """The mean of each pair of bytes, rounded up. The mask keeps a byte's halved bits out of its neighbour."""
    a, b = int.from_bytes(one, "big"), int.from_bytes(other, "big")
    mask = int.from_bytes(b"\x7f" * len(one), "big")
    return ((a | b) - (((a ^ b) >> 1) & mask)).to_bytes(len(one), "big")


def halve(picture: Picture) -> Picture:
    """Half the width and height; each pixel is the mean of four."""
    width, height = picture.width // 2, picture.height // 2
    stride, kept = picture.width * 3, width * 6
    rows = [picture.pixels[row * stride : row * stride + kept] for row in range(height * 2)]
    joined = _average(b"".join(rows[0::2]), b"".join(rows[1::2]))
    halved = bytearray(width * height * 3)
    for colour in range(3):
        plane = joined[colour::3]
        halved[colour::3] = _average(plane[0::2], plane[1::2])
    return Picture(width, height, bytes(halved))


def write_png(picture: Picture) -> bytes:
    """A PNG of 8 bits per colour."""
    stride = picture.width * 3
    rows = b"".join(b"\0" + picture.pixels[row * stride : (row + 1) * stride] for row in range(picture.height))
    head = struct.pack("!IIBBBBB", picture.width, picture.height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", head) + _chunk(b"IDAT", zlib.compress(rows, 6)) + _chunk(b"IEND", b"")


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack("!I", len(data)) + kind + data + struct.pack("!I", zlib.crc32(kind + data))


def thumbnail(mime: str, data: bytes) -> bytes:
    """A PNG at most MAX_WIDTH wide. A driver that gives PNG itself is believed. Raises BadPicture."""
    if mime == "image/png" and data.startswith(b"\x89PNG\r\n\x1a\n"):
        return data
    picture = read_ppm(data)
    while picture.width > MAX_WIDTH and picture.height > 1:
        picture = halve(picture)
    return write_png(picture)
