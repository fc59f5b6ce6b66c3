"""The HDF5 store: one file a stage, one group an image, written once and renamed into place.

    with create(path, "mask", dataset="voc", split="train_aug", classes=names) as artifact:
        artifact.put("2007_000032", label=label)
    reader = Reader(path, "mask", dataset="voc")
    reader.read("2007_000032")["label"]

What each schema holds (K = labelled classes of the image, L = classes + background):

    saliency    saliency    uint8   (H, W)     0 to 255
    cam         classes     int16   (K,)       object classes, 0-based
                scores      float16 (K, h, w)  mean activation over the test passes, >= 0, not normalised
                background  float16 (h, w)     only where the method learns one
    affinity_labels label   uint8   (h, w)     0 sure background, class + 1 sure object, 255 unknown, a value a feature cell
    mask        label       uint8   (H, W)     0 background, 1..C class + 1, 255 ignore; and label_retrieved, a second
                                               label map, where the rule makes two
    truth       label       uint8   (H, W)     as mask; instance uint8 and context uint8 where the data set has them
    prediction  scores      float16 (L, h, w)  softmax probabilities, background first; or
                label       uint8   (H, W)     where a CRF made the decision
    images      image       uint8   (H, W, 3)  rendered images, RGB
    instances   boxes       float32 (M, 5)     x0, y0, x1, y1 in pixels, 0-based class
                windows     int32   (M, 4)     the part of the image that a mask is stored for: rows and columns
                pixels      uint8   (P,)       these parts one after another: 0, 1 object, 255 unreliable
                scores      float32 (M,)       where a network found them
                crowd       uint8   (M,)       and areas float32 (M,), of truth, where the data set has them

h, w is a fraction of the image's size (`resolution` of the block that made it).
"""

import contextlib
import glob
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import h5py
import numpy as np

from workflow_scripts.errors import UserError

# HDF5 keeps metadata of every group it has touched: closing and reopening bounds the memory of long runs.
REOPEN_EVERY = 50


class Writer:
    """Adds images to one new artifact; made by `create`."""

    def __init__(self, path: Path, attributes: dict):
        self.path = path
        self._file = h5py.File(path, "w")
        self._file.attrs.update(attributes)
        self._count = 0

    def put(self, identifier: str, **arrays: np.ndarray) -> None:
        """Store the named arrays of one image, each as a single compressed chunk, in the order of their names."""
        if self._count and self._count % REOPEN_EVERY == 0:
            self._file.close()
            self._file = h5py.File(self.path, "r+")
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

    def close(self) -> None:
        self._file.attrs["images"] = self._count
        self._file.close()


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
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    for left in path.parent.glob(f".{glob.escape(path.name)}.[0-9]*.tmp"):
        left.unlink(missing_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def open_hdf5(path: str | Path) -> h5py.File:
    """Open an HDF5 file for reading; a missing or damaged one is the user's error."""
    try:
        return h5py.File(path, "r")
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; run snakemake to make it") from None
    except OSError as error:
        raise UserError(
            f"{path}: not a readable HDF5 file ({str(error).splitlines()[0][:120]}); delete it and run again"
        ) from None


def check_attributes(file: h5py.File, path: str | Path, schema: str, dataset: str | None) -> None:
    """Refuse a file of another schema or another data set."""
    found = file.attrs.get("schema")
    if found != schema:
        raise UserError(f"{path}: holds {found or 'no known content'!r}, expected {schema!r}; is it the right file?")
    if dataset is not None and file.attrs.get("dataset") != dataset:
        raise UserError(
            f"{path}: belongs to data set {file.attrs.get('dataset')!r}, expected {dataset!r}; delete it and run again"
        )


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
        attributes = dict(self._open().attrs)
        attributes["classes"] = [str(name) for name in attributes["classes"]]
        return attributes

    @property
    def ids(self) -> list[str]:
        return list(self._open())

    def __contains__(self, identifier: str) -> bool:
        return identifier in self._open()

    def read(self, identifier: str) -> dict[str, np.ndarray]:
        """All arrays of one image, by name."""
        file = self._open()
        self._reads += 1
        try:
            group = file[identifier]
        except KeyError:
            raise UserError(
                f"{self.path}: has no image {identifier!r}; it was made from other images, delete it and run again"
            ) from None
        try:
            # Not over items(), which holds the lock of HDF5 as long as the error of a read is kept: threads would wait.
            return {name: group[name][()] for name in group}
        except OSError:
            raise UserError(
                f"{self.path}: image {identifier!r} cannot be read, the file is damaged; delete it and run again"
            ) from None
