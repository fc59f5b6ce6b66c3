"""Small images of noise, PNG files written by hand, and the classes of the data sets that readers are tested with."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from workflow_scripts.base.errors import UserError

HEIGHT, WIDTH = 20, 30
CLASSES = ("cat", "dog", "horse")


def noise(height=HEIGHT, width=WIDTH, channels=3, seed=0):
    return np.random.RandomState(seed).randint(0, 256, (height, width, channels)).astype(np.uint8).squeeze()


def png(width, height, depth=8, colour=2, row=b""):
    """A PNG written by hand: any size and depth in the header, `row` (filter byte first) repeated as content."""

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    content = zlib.compress(row * height) if row else zlib.compress(b"")
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", content) + chunk(b"IEND", b"")


def one_fault(read, source, *fragments):
    """Reading ends in exactly one fault, in one line below the header, which holds all fragments."""
    with pytest.raises(UserError) as caught:
        read()
    header, *lines = str(caught.value).split("\n")
    assert header == f"{source}: 1 fault"
    assert len(lines) == 1
    for fragment in fragments:
        assert str(fragment) in lines[0]
    return lines[0]


FLAG = 0x0112  # tag of the EXIF orientation
UPRIGHT = {  # what a viewer does to the pixels as stored, by rows and columns: EXIF 2.32, 4.6.4 A
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: a[::-1].swapaxes(0, 1),
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: a[:, ::-1].swapaxes(0, 1),
}


def opened(path):
    """A picture whose file is closed."""
    return Image.open(io.BytesIO(path.read_bytes()))


def encoded(image, form, flag=None, **options):
    if flag is not None:
        exif = Image.Exif()
        exif[FLAG] = flag
        options["exif"] = exif
    file = io.BytesIO()
    image.save(file, form, **({"lossless": True} if form == "WEBP" else {}), **options)
    return file.getvalue()
