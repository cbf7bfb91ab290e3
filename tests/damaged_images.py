"""Files that no image can be decoded from, each by a function file -> content."""

import struct
import zlib

import numpy as np
from helpers import two_halves, write_image
from PIL import Image


def whole_jpeg(file):
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    return write_image(file, Image.fromarray(noise)).read_bytes()


def corrupt_png(file):
    """Its header is whole, its pixels are not."""
    data = bytearray(write_image(file, two_halves(64, 64)).read_bytes())
    data[60:80] = bytes(20)
    return bytes(data)


def broken_exif(file):
    """A turned photograph whose unit of resolution is a text, which Pillow reads but cannot write again."""
    exif = Image.Exif()
    exif[0x0112], exif[0x0128] = 6, 2
    data = bytearray(exif.tobytes())
    order = ">H" if b"MM" in data[:10] else "<H"
    at = data.index(struct.pack(order, 0x0128))
    data[at + 2 : at + 4] = struct.pack(order, 2)
    return write_image(file, two_halves(64, 64), exif=bytes(data)).read_bytes()


def endless_text(file):
    """A PNG with a comment of four million letters in four thousand bytes."""
    data = write_image(file).read_bytes()
    body = b"zTXtComment\0\0" + zlib.compress(b"x" * 2**22)
    chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    return data[:33] + chunk + data[33:]  # after the header


DAMAGED = {
    "truncated.jpg": lambda file: whole_jpeg(file)[:1500],
    "header.jpg": lambda file: whole_jpeg(file)[:30],
    "text.jpg": lambda file: b"This is no image.\n",
    "text.png": lambda file: b"This is no image.\n",
    "empty.jpg": lambda file: b"",
    "empty.png": lambda file: b"",
    "corrupt.png": corrupt_png,
    "page.jpg": lambda file: b"<!doctype html><title>404</title>",
    "exif.jpg": broken_exif,
    "endless.png": endless_text,
}
