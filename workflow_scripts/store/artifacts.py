"""The HDF5 store: one file a stage, one group an image, written once and renamed into place.

    with create(path, "mask", dataset="voc", split="train_aug", classes=names) as artifact:
        artifact.put("2007_000032", label=label)
    reader = Reader(path, "mask", dataset="voc")
    reader.read("2007_000032")["label"]

`look/schemas.py` says what each schema holds.
"""

import contextlib
import errno
import glob
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import h5py
import numpy as np

from workflow_scripts.base.errors import UserError, disk_fault, not_written, one_line
from workflow_scripts.base.stopping import postponed

# HDF5 keeps metadata of every group it has touched: closing and reopening bounds the memory of long runs.
REOPEN_EVERY = 50
LARGEST = 1 << 31  # bytes of one array
PACKED = 1100  # bytes that gzip makes one of at best, a little more than the format allows
# Of a lock that is held, or that the file system cannot give.
LOCKING = {errno.EAGAIN, errno.EWOULDBLOCK, errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP}
# What h5py raises of a file that is damaged behind its header.
DAMAGED = (OSError, RuntimeError, KeyError, ValueError, TypeError, AttributeError, OverflowError, MemoryError)


class Disk:
    """A file for HDF5 to write to, which takes everything: HDF5 crashes after a write that fails, so the first failure is
    kept, and raised by `check`. HDF5 sees a file as long as it has written; what the disk did not take reads as zeros.
    Nor may `stopping.Stopped` be raised in here: whoever calls HDF5 postpones signals."""

    def __init__(self, path: Path):
        self._file = open(path, "w+b", buffering=0)
        self._error: OSError | None = None
        self._place = self._size = 0

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._place = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._place, os.SEEK_END: self._size}[whence]
        return self._place

    def tell(self) -> int:
        return self._place

    def read(self, size: int = -1) -> bytes:
        left = max(self._size - self._place, 0)
        data = bytearray(left if size < 0 else min(size, left))
        return bytes(data[: self.readinto(memoryview(data))])

    def readinto(self, data: memoryview) -> int:
        data = memoryview(data).cast("B")[: max(self._size - self._place, 0)]
        found = self._tried(os.preadv, self._file.fileno(), [data], self._place) or 0
        data[found:] = bytes(len(data) - found)
        self._place += len(data)
        return len(data)

    def write(self, data: memoryview) -> int:
        left = memoryview(data).cast("B")
        while len(left) and self._error is None:
            taken = self._tried(os.pwrite, self._file.fileno(), left, self._place) or 0
            left, self._place = left[taken:], self._place + taken
        self._place += len(left)
        self._size = max(self._size, self._place)
        return len(data)

    def truncate(self, size: int) -> None:
        self._size = size
        self._tried(self._file.truncate, size)

    def flush(self) -> None:
        """Nothing is held back."""

    def check(self) -> None:
        if self._error is not None:
            raise self._error

    def close(self) -> None:
        self._tried(self._file.close)

    def _tried(self, call: Callable, *arguments) -> int | None:
        try:
            return call(*arguments)
        except OSError as error:
            self._error = self._error or error
            return None


@contextlib.contextmanager
def new_hdf5(path: Path) -> Iterator[h5py.File]:
    """A new HDF5 file; a disk that does not take it is told at the end."""
    disk = Disk(path)
    try:
        with postponed(), h5py.File(disk, "w") as file:
            yield file
    finally:
        disk.close()
        disk.check()  # whatever HDF5 made of it


class Writer:
    """Adds images to one new artifact; made by `create`."""

    @postponed()
    def __init__(self, path: Path, attributes: dict):
        self.path, self._disk = path, Disk(path)
        self._file = h5py.File(self._disk, "w")
        self._file.attrs.update(attributes)
        self._count = 0

    @postponed()
    def put(self, identifier: str, **arrays: np.ndarray | Sequence) -> None:
        """Store the named arrays of one image, each as a single compressed chunk, in the order of their names."""
        if self._count and self._count % REOPEN_EVERY == 0:
            self._file.close()
            self._file = h5py.File(self._disk, "r+")
        group = self._file.create_group(identifier)
        for name, array in sorted(arrays.items()):
            array = np.ascontiguousarray(array)
            if array.nbytes > 1024:
                group.create_dataset(
                    name, data=array, chunks=array.shape, compression="gzip", compression_opts=1, shuffle=True
                )
            else:
                group.create_dataset(name, data=array)
        self._count += 1
        self._disk.check()

    @postponed()
    def close(self) -> None:
        """End the file, whether it is whole or not; the OSError of a disk that did not take it comes before others."""
        try:
            self._file.attrs["images"] = self._count
            self._file.close()
        finally:
            self._disk.close()
            self._disk.check()


@contextlib.contextmanager
def create(path: str | Path, schema: str, *, dataset: str, split: str, classes: Sequence[str]) -> Iterator[Writer]:
    """Open a new artifact for writing; it appears under its name only when the block ends without an error."""
    attributes = {"schema": schema, "dataset": dataset, "split": split, "classes": list(classes)}
    with replaced(path) as temporary:
        writer = Writer(temporary, attributes)
        try:
            yield writer
        finally:
            writer.close()


@contextlib.contextmanager
def replaced(path: str | Path) -> Iterator[Path]:
    """A temporary name in the same folder, flushed to disk and renamed to `path` at the end, removed on an error.

    What jobs that were killed have left under such a name is removed first.

    Raises:
        UserError: the disk is full, read-only or broken.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for left in path.parent.glob(f".{glob.escape(path.name)}.[0-9]*.tmp"):
            left.unlink(missing_ok=True)
        yield temporary
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except Exception as error:
        if isinstance(error, UserError) or (reason := disk_fault(error)) is None:
            raise
        raise not_written(path, reason) from None
    finally:
        with contextlib.suppress(OSError):  # of a disk that is read-only
            temporary.unlink(missing_ok=True)


def write(path: str | Path, content: str | bytes) -> None:
    """A whole file of a text, as UTF-8, or of bytes; as `replaced`."""
    with replaced(path) as temporary:
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)


def _check_lock(path: str | Path, error: OSError) -> None:
    """Tell where a file cannot be opened as HDF5 gets no lock of it, from another program's or none from its system."""
    if error.errno in LOCKING:
        raise UserError(
            f"{path}: its file system gives no lock ({os.strerror(error.errno)}); end other programs that use it, or set "
            "HDF5_USE_FILE_LOCKING=BEST_EFFORT in the environment, and run again"
        ) from None


def open_hdf5(path: str | Path) -> h5py.File:
    """Open an HDF5 file for reading; a missing or damaged one is the user's error."""
    try:
        return h5py.File(path, "r")
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; run snakemake to make it") from None
    except OSError as error:
        _check_lock(path, error)
        raise UserError(f"{path}: not a readable HDF5 file ({one_line(error)}); delete it and run again") from None


@contextlib.contextmanager
def told_of_damage(path: str | Path, what: str = "its content") -> Iterator[None]:
    """What h5py raises within is the user's error: the file is damaged."""
    try:
        yield
    except DAMAGED:
        raise UserError(f"{path}: {what} cannot be read, the file is damaged; delete it and run again") from None


def read_attribute(file: h5py.File, path: str | Path, name: str):
    """An attribute of a file, or None."""
    with told_of_damage(path, f"attribute {name!r}"):
        return file.attrs.get(name)


def schema_and_dataset(path: str | Path) -> tuple[str, str]:
    """What a file says of itself; nothing where it does not."""
    with open_hdf5(path) as file:
        schema, dataset = (read_attribute(file, path, name) for name in ("schema", "dataset"))
    return "" if schema is None else str(schema)[:60], str(dataset)


def check_attributes(file: h5py.File, path: str | Path, schema: str, dataset: str | None) -> None:
    """Refuse a file of another schema or another data set."""
    found = read_attribute(file, path, "schema")
    if not isinstance(found, str) or found != schema:
        shown = str(found)[:60] if found is not None else "no known content"
        raise UserError(f"{path}: holds {shown!r}, expected {schema!r}; name another file")
    found = read_attribute(file, path, "dataset")
    if dataset is not None and (not isinstance(found, str) or found != dataset):
        raise UserError(
            f"{path}: belongs to data set {str(found)[:60]!r}, expected {dataset!r}; delete it and run again"
        )


def read_array(group: h5py.Group, name: str) -> np.ndarray:
    """An array of numbers that lies in this file, of no more bytes than its file can stand for.

    Raises:
        ValueError: a link to elsewhere, content of another file, another type, or too many bytes: no stage writes such.
    """
    if not isinstance(group.get(name, getlink=True), h5py.HardLink):
        raise ValueError(f"{name} is a link")
    dataset = group[name]
    if not isinstance(dataset, h5py.Dataset) or dataset.dtype.kind not in "uifb" or dataset.dtype.subdtype:
        raise ValueError(f"{name} is no array of numbers")
    if dataset.is_virtual or dataset.external:
        raise ValueError(f"{name} lies in another file")
    stored = min(dataset.id.get_storage_size(), h5py.h5i.get_file_id(dataset.id).get_filesize())
    if dataset.nbytes > min(LARGEST, PACKED * stored):
        raise ValueError(f"{name} takes {dataset.nbytes} bytes")
    return dataset[()]


class Reader:
    """Reads an artifact image by image; opened lazily, once per process, so that it can be handed to workers."""

    def __init__(self, path: str | Path, schema: str, dataset: str | None = None):
        self.path, self.schema, self.dataset = str(path), schema, dataset
        self._file: h5py.File | None = None
        self._process = 0
        self._reads = 0

    def __getstate__(self) -> dict:
        return {**self.__dict__, "_file": None, "_process": 0}

    def _open(self) -> h5py.File:
        if self._file is not None and self._process == os.getpid() and self._reads % REOPEN_EVERY:
            return self._file
        if self._file is not None and self._process == os.getpid():
            self._file.close()
        self._file = open_hdf5(self.path)
        check_attributes(self._file, self.path, self.schema, self.dataset)
        self._process = os.getpid()
        return self._file

    @property
    def attributes(self) -> dict:
        """Schema, data set, split, classes (list of names) and number of images."""
        file = self._open()
        with told_of_damage(self.path):
            attributes = dict(file.attrs)
            return attributes | {
                "classes": [str(name) for name in attributes["classes"]],
                "split": str(attributes["split"]),
                "images": int(attributes["images"]),
            }

    @property
    def ids(self) -> list[str]:
        file = self._open()
        with told_of_damage(self.path, "its list of images"):
            return list(file)

    def __contains__(self, identifier: str) -> bool:
        file = self._open()
        with told_of_damage(self.path, "its list of images"):
            return identifier in file

    def read(self, identifier: str) -> dict[str, np.ndarray]:
        """All arrays of one image, by name."""
        file = self._open()
        self._reads += 1
        with told_of_damage(self.path, "its list of images"):
            known = identifier in file
        if not known:
            raise UserError(
                f"{self.path}: has no image {identifier!r}; it was made from other images, delete it and run again"
            )
        with told_of_damage(self.path, f"image {identifier!r}"):
            if not isinstance(file.get(identifier, getlink=True), h5py.HardLink):
                raise ValueError("a link")
            group = file[identifier]
            # Not over items(), which holds the lock of HDF5 as long as the error of a read is kept: threads would wait.
            return {name: read_array(group, name) for name in group}
