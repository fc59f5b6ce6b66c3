"""Reader of MXNet's `.params` files, without MXNet. Written after the format's description, not yet tried on a real file."""

import struct
from pathlib import Path

import numpy as np

from workflow_scripts.base.errors import UserError

LIST_MAGIC = 0x112
DENSE_MAGICS = (0xF993FAC8, 0xF993FAC9, 0xF993FACA)  # versions 1 to 3 of an array
DTYPES = {0: "<f4", 1: "<f8", 2: "<f2", 3: "<u1", 4: "<i4", 5: "<i1", 6: "<i8"}
MAX_DIMENSIONS = 32


def read_params(path: str | Path) -> dict[str, np.ndarray]:
    """Arrays by name (with their prefix `arg:` or `aux:`), little-endian.

    Raises:
        UserError: missing, truncated, or no such file; sparse arrays.
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); download it there") from None
    cursor = _Cursor(data, path)
    if cursor.take("<Q") != LIST_MAGIC:
        raise UserError(f"{path}: no MXNet parameters; name the .params file of the checkpoint")
    cursor.take("<Q")
    arrays = [_array(cursor) for _ in range(cursor.count())]
    names = [cursor.text() for _ in range(cursor.count())]
    if len(names) != len(arrays) or len(set(names)) != len(names):
        raise cursor.damaged()
    return dict(zip(names, arrays, strict=True))


def _array(cursor: "_Cursor") -> np.ndarray:
    word = cursor.take("<I")
    if word in DENSE_MAGICS:
        if word != DENSE_MAGICS[0] and cursor.take("<i") != 0:
            raise UserError(f"{cursor.path}: holds a sparse array, which no network here has")
        dimensions, size = cursor.take("<I"), "<q"
    else:
        dimensions, size = word, "<I"  # the oldest form has no magic number
    if dimensions > MAX_DIMENSIONS:
        raise cursor.damaged()
    shape = [cursor.take(size) for _ in range(dimensions)]
    cursor.take("<ii")  # device, which does not matter
    dtype = np.dtype(DTYPES.get(cursor.take("<i"), "V1"))
    if dtype.kind == "V" or any(side < 0 for side in shape):
        raise cursor.damaged()
    values = np.frombuffer(cursor.bytes(int(np.prod(shape, dtype=object)) * dtype.itemsize), dtype)
    try:
        return values.reshape(shape)
    except ValueError:  # of no values, and sides that are too large
        raise cursor.damaged() from None


class _Cursor:
    """Reads on through a file, and says so in one line where it ends too early."""

    def __init__(self, data: bytes, path: str | Path):
        self.data, self.path, self.at = data, path, 0

    def damaged(self) -> UserError:
        return UserError(f"{self.path}: damaged or truncated MXNet parameters; download the file again")

    def bytes(self, count: int) -> bytes:
        if not 0 <= count <= len(self.data) - self.at:
            raise self.damaged()
        self.at += count
        return self.data[self.at - count : self.at]

    def take(self, form: str) -> int:
        return struct.unpack(form, self.bytes(struct.calcsize(form)))[0]

    def count(self) -> int:
        """A number of things of at least four bytes each, so that a damaged one asks for no memory."""
        count = self.take("<Q")
        if count * 4 > len(self.data):
            raise self.damaged()
        return count

    def text(self) -> str:
        try:
            return self.bytes(self.take("<Q")).decode()
        except UnicodeDecodeError:
            raise self.damaged() from None
