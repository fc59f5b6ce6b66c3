"""MATLAB's files of version 5, read without trust: types, sizes and nesting are checked first, where scipy's reader crashes.

Only what label files hold: numbers, sparse matrices, cells and structs. After MathWorks, "MAT-File Format", version 5.
"""

import math
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np

HEADER = 128  # bytes
VERSION = 0x0100
LARGEST = 1 << 28  # bytes of one variable, and of one array
DEEPEST = 8
NUMBERS = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
MATRIX, COMPRESSED = 14, 15
CELL, STRUCT, SPARSE, DENSE = 1, 2, 5, range(6, 16)
COMPLEX = 0x800


class Damaged(Exception):
    """What makes a file unreadable, in a few words."""


# What reading fields of a variable may raise: the last four where it holds other things than expected.
UNREADABLE = (OSError, Damaged, LookupError, TypeError, ValueError, OverflowError)


def read_variable(path: str | Path, name: str) -> Any:
    """One variable of a file.

    Returns:
        numbers and sparse matrices as arrays of the type that they are stored in; a cell as a list, column by column; a
        struct as a dictionary of its fields, one of several elements as a list of them.

    Raises:
        OSError: the file is missing or cannot be read.
        Damaged: not such a file, truncated, or without the variable.
    """
    data = Path(path).read_bytes()
    order = {b"IM": "<", b"MI": ">"}.get(data[HEADER - 2 : HEADER])
    if order is None or struct.unpack(f"{order}H", data[HEADER - 4 : HEADER - 2])[0] != VERSION:
        raise Damaged("no MAT-file of version 5")
    file = _Parser(data, order, HEADER)
    while file.at < len(data):
        kind, content = file.element(padded=False)
        if kind == COMPRESSED:
            kind, content = _Parser(_unpacked(content), order).element()
        if kind == MATRIX:
            found, value = _Parser(content, order).matrix(name)
            if found:
                return value
    raise Damaged(f"no variable {name}")


def _unpacked(content: bytes) -> bytes:
    packed = zlib.decompressobj()
    try:
        data = packed.decompress(content, LARGEST)
    except zlib.error as error:
        raise Damaged(str(error)) from None
    if not packed.eof:
        raise Damaged("a compressed variable is cut off or too large")
    return data


class _Parser:
    """Steps through elements: a tag of type and size, and the content."""

    def __init__(self, data: bytes, order: str, at: int = 0, depth: int = 0):
        self.data, self.order, self.at, self.depth = data, order, at, depth

    def element(self, padded: bool = True) -> tuple[int, bytes]:
        """Type and content of the next element."""
        (kind,) = struct.unpack(f"{self.order}I", self._bytes(4))
        if kind >> 16:  # up to four bytes stand in the tag itself
            size, kind = kind >> 16, kind & 0xFFFF
            content = self._bytes(4)[:size]
            if size > 4:
                raise Damaged("a size that is none")
            return kind, content
        (size,) = struct.unpack(f"{self.order}I", self._bytes(4))
        content = self._bytes(size)
        if padded:
            self.at += -size % 8
        return kind, content

    def _bytes(self, count: int) -> bytes:
        if count > len(self.data) - self.at:
            raise Damaged("truncated")
        self.at += count
        return self.data[self.at - count : self.at]

    def numbers(self) -> np.ndarray:
        kind, content = self.element()
        dtype = np.dtype(self.order + NUMBERS[kind]) if kind in NUMBERS else None
        if dtype is None or len(content) % dtype.itemsize:
            raise Damaged("a type of numbers that is none")
        return np.frombuffer(content, dtype).astype(dtype.newbyteorder("="), copy=False)

    def matrix(self, wanted: str | None = None) -> tuple[bool, Any]:
        """Whether it has the name that is wanted, and then what it holds."""
        if not self.data:
            return True, np.zeros((0, 0))
        flags, shape, name = self.numbers(), self.numbers(), bytes(self.element()[1])
        if len(flags) != 2 or flags.dtype != np.uint32 or shape.dtype != np.int32 or len(shape) < 2 or shape.min() < 0:
            raise Damaged("a matrix without class or size")
        if wanted is not None and name != wanted.encode():
            return False, None
        kind, count = int(flags[0]) & 0xFF, math.prod(map(int, shape))
        if self.depth > DEEPEST or flags[0] & COMPLEX:
            raise Damaged("complex numbers or matrices nested too deep")
        if kind in DENSE:
            values = self.numbers()
            if len(values) != count or len(shape) > 8:
                raise Damaged("a matrix of another size than it says")
            return True, values.reshape(shape, order="F")
        if kind == SPARSE:
            return True, self._sparse(*map(int, shape[:2]))
        if kind == CELL:
            return True, [self._inside() for _ in range(count)]
        if kind == STRUCT:
            return True, self._struct(count)
        raise Damaged(f"a matrix of class {kind}")

    def _inside(self) -> Any:
        kind, content = self.element()
        if kind != MATRIX:
            raise Damaged("no matrix where one should be")
        return _Parser(content, self.order, depth=self.depth + 1).matrix()[1]

    def _struct(self, count: int) -> dict | list[dict]:
        length, text = self.numbers(), self.element()[1]
        if len(length) != 1 or not 0 < length[0] <= len(text):
            raise Damaged("a struct without fields")
        names = [text[at : at + int(length[0])].split(b"\0")[0] for at in range(0, len(text), int(length[0]))]
        elements = [{name.decode("latin-1"): self._inside() for name in names} for _ in range(count)]
        return elements[0] if count == 1 else elements

    def _sparse(self, height: int, width: int) -> np.ndarray:
        rows, starts, values = self.numbers(), self.numbers(), self.numbers()
        if height * width * values.itemsize > LARGEST or rows.dtype.kind != "i" or starts.dtype.kind != "i":
            raise Damaged("a sparse matrix that is too large or has no places")
        used = int(starts[-1]) if len(starts) == width + 1 else -1
        lengths = np.diff(starts)
        if not 0 <= used <= min(len(rows), len(values)) or starts[0] or (lengths < 0).any():
            raise Damaged("a sparse matrix whose columns are none")
        rows = rows[:used]
        if used and not 0 <= rows.min() <= rows.max() < height:
            raise Damaged("a sparse matrix with places outside")
        dense = np.zeros((height, width), values.dtype)
        dense[rows, np.repeat(np.arange(width), lengths)] = values[:used]
        return dense
