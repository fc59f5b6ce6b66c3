"""Arrays and dictionaries of arrays that other code has saved with NumPy, read without trust.

`np.save` writes a dictionary as a pickle, which may start any program when it is loaded. Here a pickle may hold numbers,
texts, lists, dictionaries, arrays and PyTorch's tensors, and each of them is made by a function of this module: nothing
that a file names is ever called.
"""

import io
import pickle
import re
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Sequence
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from workflow_scripts.base.errors import UserError, one_line

LARGEST = 1 << 30  # bytes of a file, and of what is packed in it
NUMBERS = re.compile("b1|[iu][1248]|f[248]")
TEXTS = re.compile(r"[US]\d{1,4}")
OBJECTS = re.compile("O8?")


class _Refused(Exception):
    """Why a file is not read, in a few words."""


def read_arrays(path: str | Path) -> Any:
    """What a `.npy` or `.npz` file holds.

    Returns:
        an array of numbers; or numbers, texts, arrays, and lists and dictionaries of these. Of a `.npz` file a dictionary of its
        members by name.

    Raises:
        UserError: the file cannot be read, is damaged or too large, or holds anything else.
    """
    try:
        if Path(path).stat().st_size > LARGEST:
            raise _Refused(f"has more than {LARGEST >> 20} MiB")
        data = Path(path).read_bytes()
        return _archive(data) if zipfile.is_zipfile(io.BytesIO(data)) else _array(data)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); check the path and its permissions") from None
    except _Refused as error:
        way = "save a dictionary from class numbers to arrays of numbers"
        raise UserError(f"{path}: {error}; {way}") from None
    except Exception as error:  # a damaged pickle makes its reader raise anything
        raise UserError(f"{path}: damaged, or not a file of NumPy ({one_line(error)}); save it again") from None


def _archive(data: bytes) -> dict[str, Any]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        if sum(item.file_size for item in archive.infolist()) > LARGEST:
            raise _Refused(f"holds more than {LARGEST >> 20} MiB")
        return {item.filename.removesuffix(".npy"): _array(archive.read(item)) for item in archive.infolist()}


def _array(data: bytes) -> Any:
    """The content of one `.npy` file."""
    file = io.BytesIO(data)
    read_header = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }[np.lib.format.read_magic(file)]
    shape, is_fortran, dtype = read_header(file)
    rest = data[file.tell() :]
    if OBJECTS.fullmatch(dtype.str.strip("<>|=")):
        return _plain(_Unpickler(io.BytesIO(rest)).load(), {})
    if dtype.kind not in "biuf" or dtype.subdtype:
        raise _Refused(f"holds values of type {dtype}, which are no numbers")
    return _shaped(rest, dtype, shape, is_fortran)


def _shaped(data: bytes, dtype: np.dtype, shape: Sequence[int], is_fortran: bool) -> np.ndarray:
    if any(not isinstance(side, int) or side < 0 for side in shape) or prod(shape) * dtype.itemsize != len(data):
        raise _Refused("is truncated")
    return np.frombuffer(data, dtype).reshape(shape, order="F" if is_fortran else "C")


# Pickles


class _Dtype:
    """Stands for a type of NumPy's."""

    def __init__(self, name: str, *_: Any):
        self.name, self.order = name, "="

    def __setstate__(self, state: tuple) -> None:
        _, self.order, *structure = state
        if any(item is not None for item in structure[:3]):
            raise _Refused("holds a structured array")

    def numpy(self) -> np.dtype:
        if not any(known.fullmatch(self.name) for known in (NUMBERS, TEXTS)):
            raise _Refused(f"holds values of type {self.name[:20]!r}, which are no numbers")
        plain = np.dtype(self.name)
        return plain.newbyteorder(">") if self.order == ">" else plain.newbyteorder("<") if self.order == "<" else plain


class _Array:
    """Stands for an array of NumPy's until its content is read."""

    def __init__(self, *_: Any):
        self.value: Any = None

    def __setstate__(self, state: tuple) -> None:
        shape, dtype, is_fortran, data = state[-4:]
        if OBJECTS.fullmatch(dtype.name):
            self.value = data[0] if shape == () else list(data)
        else:
            self.value = _shaped(data, dtype.numpy(), shape, bool(is_fortran))


def _scalar(dtype: _Dtype, data: bytes) -> Any:
    return _shaped(data, dtype.numpy(), (), False).item()


def _from_buffer(data: Any, dtype: _Dtype, shape: tuple, order: str, *_: Any) -> np.ndarray:
    return _shaped(bytes(data), dtype.numpy(), shape, order == "F")


def _storage(data: bytes) -> np.ndarray:
    """The numbers of a tensor of PyTorch's, in one row."""
    import torch

    stored = torch.load(io.BytesIO(data), weights_only=True, map_location="cpu")
    row = torch.empty(0, dtype=stored.dtype).set_(stored._untyped_storage)
    return (row.float() if row.dtype == torch.bfloat16 else row).numpy()


def _tensor(row: np.ndarray, offset: int, size: tuple, stride: tuple, *_: Any) -> np.ndarray:
    last = offset + sum((side - 1) * step for side, step in zip(size, stride, strict=True))
    if min((offset, *size, *stride)) < 0 or prod(size) and not prod(size) - 1 <= last < len(row):
        raise _Refused("holds a tensor of another size than its numbers")
    strides = [step * row.itemsize for step in stride]
    return np.lib.stride_tricks.as_strided(row[offset:], size, strides).copy()


def _encoded(text: str, *_: Any) -> bytes:
    """Bytes as pickles of protocol 2 have them."""
    return text.encode("latin1")


STAND_INS: dict[tuple[str, str], Callable] = {
    ("numpy", "dtype"): _Dtype,
    ("numpy", "ndarray"): _Array,
    ("collections", "OrderedDict"): OrderedDict,
    ("_codecs", "encode"): _encoded,
    ("torch.storage", "_load_from_bytes"): _storage,
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
}
for _core in ("numpy.core", "numpy._core"):
    STAND_INS |= {
        (f"{_core}.multiarray", "_reconstruct"): _Array,
        (f"{_core}.multiarray", "scalar"): _scalar,
        (f"{_core}.numeric", "_frombuffer"): _from_buffer,
    }


class _Unpickler(pickle._Unpickler):
    """Knows the names of `STAND_INS` alone. Python's own reader, as that in C takes memory by what a file says."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in STAND_INS:
            raise _Refused(f"a pickle that holds {f'{module}.{name}'[:80]!r}, which is no array, number or text")
        return STAND_INS[module, name]

    def persistent_load(self, pid: Any) -> Any:
        raise _Refused("a pickle that refers to another file")


def _plain(value: Any, known: dict[int, Any]) -> Any:
    """Without stand-ins; what a pickle refers to several times is gone through once."""
    if id(value) not in known:
        if isinstance(value, _Array):
            known[id(value)] = _plain(value.value, known)
        elif isinstance(value, dict):
            known[id(value)] = {key: _plain(item, known) for key, item in value.items()}
        elif isinstance(value, list | tuple):
            known[id(value)] = [_plain(item, known) for item in value]
        else:
            return _checked(value)
    return known[id(value)]


def _checked(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | float | str | bytes | np.ndarray):
        return value
    raise _Refused(f"a pickle that holds a {type(value).__name__.strip('_').lower()} alone")
