"""The index: the checked list of a data set's images that every later stage trusts.

Stored in columns: `ids`, `images` (path of the file, empty for rendered images), `digests` (SHA-256), `sizes` (H, W),
`labels` (0/1 per class), `boxes` (x0, y0, x1, y1, class) with `crowds` (0/1 per box) and `box_offsets`, and `splits/{name}`
(rows of a split). The attribute `oriented` is there, and 0, where EXIF orientations are not applied.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain

import h5py
import numpy as np

from workflow_scripts.base.errors import UserError
from workflow_scripts.data.index_entries import Entry
from workflow_scripts.data.readers.images import read_photograph
from workflow_scripts.store.artifacts import (
    Reader,
    check_attributes,
    new_hdf5,
    open_hdf5,
    read_array,
    replaced,
    told_of_damage,
)


@dataclass(frozen=True)
class Index:
    """Rows of a data set; `rows(split)` gives those of a split in its own order."""

    path: str
    dataset: str
    classes: tuple[str, ...]
    ids: list[str]
    images: list[str]
    digests: np.ndarray  # SHA-256 of the files, hexadecimal, as bytes
    sizes: np.ndarray
    labels: np.ndarray
    boxes: np.ndarray
    crowds: np.ndarray
    box_offsets: np.ndarray
    splits: dict[str, np.ndarray]
    oriented: bool = True

    def split(self, *names: str) -> list[str]:
        """Ids of the splits together, each once."""
        return [self.ids[row] for row in self.rows(*names)]

    def rows(self, *names: str) -> list[int]:
        for name in names:
            if name not in self.splits:
                raise UserError(
                    f"{self.path}: has no split {name!r}, found {', '.join(self.splits)}; delete it and run again"
                )
        return list(dict.fromkeys(int(row) for name in names for row in self.splits[name]))

    @cached_property
    def row(self) -> dict[str, int]:
        """Row of each id."""
        return {identifier: row for row, identifier in enumerate(self.ids)}

    def classes_of(self, identifier: str) -> np.ndarray:
        """0-based object classes of an image, int16, ascending."""
        return np.flatnonzero(self.labels[self.row[identifier]]).astype(np.int16)

    def size_of(self, identifier: str) -> tuple[int, int]:
        """Height and width in pixels."""
        height, width = self.sizes[self.row[identifier]]
        return int(height), int(width)

    def boxes_of(self, identifier: str) -> np.ndarray:
        """(M, 5) float32: x0, y0, x1, y1 in pixels as the source has them, 0-based class."""
        row = self.row[identifier]
        return self.boxes[self.box_offsets[row] : self.box_offsets[row + 1]]

    def objects_of(self, identifier: str) -> np.ndarray:
        """The boxes that are drawn around one object."""
        row = self.row[identifier]
        return self.boxes_of(identifier)[self.crowds[self.box_offsets[row] : self.box_offsets[row + 1]] == 0]


def write_index(
    path: str,
    dataset: str,
    classes: Sequence[str],
    entries: Sequence[Entry],
    splits: Mapping[str, Sequence[str]],
    oriented: bool = True,
) -> None:
    """Write the index of one data set; `oriented` says whether EXIF orientations of its photographs are applied."""
    rows = {entry.id: row for row, entry in enumerate(entries)}
    labels = np.zeros((len(entries), len(classes)), np.uint8)
    for row, entry in enumerate(entries):
        labels[row, list(entry.labels)] = 1
    counts = [len(entry.boxes) for entry in entries]
    crowds = [[row in entry.crowds for row in range(len(entry.boxes))] for entry in entries]
    boxes = np.concatenate([entry.boxes for entry in entries]) if entries else np.zeros((0, 5))
    text = h5py.string_dtype()
    with replaced(path) as temporary, new_hdf5(temporary) as file:
        file.attrs.update({"schema": "index", "dataset": dataset, "classes": list(classes), "images": len(entries)})
        if not oriented:
            file.attrs["oriented"] = 0
        file.create_dataset("ids", data=[entry.id for entry in entries], dtype=text)
        file.create_dataset("images", data=[entry.image for entry in entries], dtype=text)
        file.create_dataset("digests", data=[entry.digest for entry in entries], dtype=text)
        file.create_dataset("sizes", data=np.array([[entry.height, entry.width] for entry in entries], np.int32))
        file.create_dataset("labels", data=labels)
        file.create_dataset("boxes", data=boxes.astype(np.float32))
        file.create_dataset("crowds", data=np.array(list(chain.from_iterable(crowds)), np.uint8))
        file.create_dataset("box_offsets", data=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64))
        for name, ids in splits.items():
            file.create_dataset(f"splits/{name}", data=np.array([rows[identifier] for identifier in ids], np.int32))


def read_index(path: str, dataset: str | None = None) -> Index:
    """Read an index whole; 120,000 images take some 60 MB."""
    with open_hdf5(path) as file:
        check_attributes(file, path, "index", dataset)
        with told_of_damage(path):
            index = Index(
                path=str(path),
                dataset=str(file.attrs["dataset"]),
                classes=tuple(str(name) for name in file.attrs["classes"]),
                ids=_texts(file, "ids"),
                images=_texts(file, "images"),
                digests=np.array(_texts(file, "digests"), "S64"),
                sizes=read_array(file, "sizes"),
                labels=read_array(file, "labels"),
                boxes=read_array(file, "boxes"),
                crowds=read_array(file, "crowds"),
                box_offsets=read_array(file, "box_offsets"),
                splits={name: read_array(file["splits"], name) for name in file["splits"]},
                oriented=bool(file.attrs.get("oriented", 1)),
            )
            _check(index)
    return index


def _texts(file: h5py.File, name: str) -> list[str]:
    """A column of text, read at once: one by one takes fifty times as long."""
    dataset = file[name]
    stored = min(dataset.id.get_storage_size(), file.id.get_filesize())
    if h5py.check_string_dtype(dataset.dtype) is None or dataset.ndim != 1 or dataset.nbytes > stored:
        raise ValueError(f"{name} is no list of texts")
    return dataset.asstr()[()].tolist()


def _check(index: Index) -> None:
    """Raise a ValueError where columns do not fit each other, as in a damaged file."""
    count, boxes = len(index.ids), len(index.boxes)
    offsets = index.box_offsets
    integers = (index.sizes, index.labels, index.crowds, offsets, *index.splits.values())
    fitting = (
        len(index.images) == len(index.digests) == len(set(index.ids)) == count
        and all(column.dtype.kind in "ui" for column in integers)
        and index.sizes.shape == (count, 2)
        and index.labels.shape == (count, len(index.classes))
        and index.boxes.ndim == 2
        and index.boxes.shape[1] == 5
        and index.crowds.shape == (boxes,)
        and offsets.shape == (count + 1,)
        and offsets[0] == 0
        and offsets[-1] == boxes
        and (np.diff(offsets.astype(np.int64)) >= 0).all()
        and (index.sizes > 0).all()
        and np.isfinite(index.boxes).all()
        and all(rows.ndim == 1 and ((0 <= rows) & (rows < count)).all() for rows in index.splits.values())
    )
    if not fitting:
        raise ValueError("columns that do not fit each other")


class Images:
    """Gives the pixels of an image by id, from its file or from the artifact of rendered images."""

    def __init__(self, index: Index, rendered: str | None):
        self.index = index
        self._rendered = Reader(rendered, "images", index.dataset) if rendered else None

    def read(self, identifier: str) -> np.ndarray:
        """uint8 (H, W, 3) RGB."""
        return self.photograph(identifier)[0]

    def photograph(self, identifier: str) -> tuple[np.ndarray, int]:
        """uint8 (H, W, 3) RGB, and the EXIF orientation of the file, 1 to 8.

        Raises:
            UserError: as `read_photograph`; the file is another than the one that the index was made from, if only while it is read.
        """
        if self._rendered:
            return self._rendered.read(identifier)["image"], 1
        row = self.index.row[identifier]
        return read_photograph(self.index.images[row], self.index.oriented, self.index.digests[row].decode())
