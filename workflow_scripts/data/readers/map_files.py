"""Soft maps of single images as other code saves them: NumPy's files, PNG heat maps, HDF5; found by the names of files.

What is read, of an image `id`:

    {id}.npy, {id}.npz      a dictionary, or an array (maps, height, width)
    {id}.h5, {id}.hdf5      datasets, as the members of a dictionary
    {id}_{class}.png, {class}/{id}.png, {id}/{class}.png; {id}.png where there is one class
    one HDF5 file           with a group, or a dataset, for each image

A dictionary has a map for each class; or `keys` with `high_res` or `cam`, as IRN; or `classes` with `scores`, as the
artifacts of this project. A class is a name, or its place in the list of names.
"""

import contextlib
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
from PIL import Image

from workflow_scripts.base.errors import UserError, one_line
from workflow_scripts.data.index_entries import Faults, nearest_name
from workflow_scripts.data.readers.array_files import read_arrays
from workflow_scripts.data.readers.images import label_values
from workflow_scripts.store.artifacts import DAMAGED, read_array

ARRAYS, HDF5, PNG = (".npy", ".npz"), (".h5", ".hdf5"), ".png"
BACKGROUND = "background"
FULL_SIZE = ("high_res", "cam")  # of IRN, the better one first
DEPTHS = {np.dtype(np.uint8): 255, np.dtype(np.uint16): 65535}  # greatest value of a PNG

Maps = list[tuple[str, np.ndarray]]  # names of classes and their maps


class File(NamedTuple):
    """A file with maps of an image; `name` is the class, where it is of one."""

    path: str
    name: str | None = None


class MapFiles:
    """The maps of a folder, or of an HDF5 file, by id.

    Args:
        path: of the folder or file.
        classes: of the data set.
        names: of the classes in the order in which the maps count them.
        ids: of the images.
    """

    def __init__(self, path: str | Path, classes: Sequence[str], names: Sequence[str], ids: Collection[str]):
        self.path, self.classes = Path(path), tuple(classes)
        self.names: Sequence[str] = tuple(names)
        self.unused = 0  # files, or groups, of no image
        self._files: dict[str, list[File]] = {}
        if self.path.is_file():
            self._list_groups(ids)
        elif self.path.is_dir():
            self._list_files(ids)
        else:
            raise UserError(f"{path}: no such folder or file of maps; set its path in the config")

    def __contains__(self, identifier: str) -> bool:
        return identifier in self._files

    def __len__(self) -> int:
        return len(self._files)

    def read(self, identifier: str, labels: Sequence[str]) -> Maps:
        """The maps of an image, of any classes, with the names of these.

        Args:
            labels: names of the classes that the image shows.

        Raises:
            UserError: a file cannot be read, or it is not clear of which classes its maps are.
        """
        files = self._files[identifier]
        if files[0].name is not None:
            return [(str(file.name), _read_png(file.path)) for file in files]
        path, names, where = files[0].path, self.names, files[0].path
        if path.endswith(ARRAYS):
            content = read_arrays(path)
        else:
            inside = identifier if self.path.is_file() else None
            where = f"{path}: {identifier}" if inside else path
            content, names = _read_hdf5(path, inside, names)
        try:
            return self._named(content, names, labels)
        except ValueError as error:
            raise UserError(f"{where}: {error}") from None

    # Names of files

    def _list_groups(self, ids: Collection[str]) -> None:
        with _opened(str(self.path)) as file:
            for name in file:
                if name in ids:
                    self._files[name] = [File(str(self.path))]
                else:
                    self.unused += 1

    def _list_files(self, ids: Collection[str]) -> None:
        faults = Faults()
        for path, candidates in self._candidates(ids):
            known = list(dict.fromkeys(candidates))
            if len(known) > 1:
                shown = " or ".join(f"{name!r} of {identifier!r}" for identifier, name in known[:2])
                faults.add(f"{path}: may be {shown}; put the maps of a class into a folder of its name")
            elif not known:
                self.unused += 1
            else:
                ((identifier, name),) = known
                self._files.setdefault(identifier, []).append(File(path, name))
        for files in self._files.values():
            files.sort()
            names = [file.name for file in files]
            if len(files) > 1 and (None in names or len(set(names)) < len(names)):
                faults.add(f"{files[0].path}: {files[1].path} is of the same image; keep one of them")
        faults.raise_if_any(str(self.path))

    def _candidates(self, ids: Collection[str]) -> Iterator[tuple[str, list[tuple[str, str | None]]]]:
        """Paths, and the images and classes that each may be of by its name."""
        for entry in sorted(os.scandir(self.path), key=lambda entry: entry.name):
            stem, suffix = os.path.splitext(entry.name)
            if entry.is_dir():
                own = self._name(entry.name)
                for inner in sorted(os.scandir(entry.path), key=lambda inner: inner.name):
                    image, ending = os.path.splitext(inner.name)
                    if ending.lower() == PNG:
                        found = [(image, own)] if own and image in ids else []
                        name = self._name(image) if entry.name in ids else None
                        yield inner.path, [*found, *([(entry.name, name)] if name else [])]
            elif suffix.lower() in (*ARRAYS, *HDF5):
                yield entry.path, [(stem, None)] if stem in ids else []
            elif suffix.lower() == PNG:
                parts = [(stem[:place], stem[place + 1 :]) for place, sign in enumerate(stem) if sign == "_"]
                named = [(image, self._name(text)) for image, text in parts if image in ids]
                single = [(stem, self.classes[0])] if stem in ids and len(self.classes) == 1 else []
                yield entry.path, [*single, *((image, name) for image, name in named if name)]

    def _name(self, text: str) -> str | None:
        """The class that a text names, or counts; None if none."""
        if text in (*self.classes, *self.names, BACKGROUND):
            return text
        return self.names[int(text)] if text.isascii() and text.isdecimal() and int(text) < len(self.names) else None

    # Contents

    def _named(self, content: Any, names: Sequence[str], labels: Sequence[str]) -> Maps:
        """Raises a ValueError that says what is wrong."""
        if isinstance(content, Mapping) and len(content) == 1:
            ((key, value),) = content.items()
            if _sides(value) == 3 and isinstance(key, str) and not self._name(key):
                content = value  # the one array of a file with members
        if not isinstance(content, Mapping):
            return self._stacked(content, names, labels)
        if "keys" in content or {"classes", "scores"} <= content.keys():
            keys = "keys" if "keys" in content else "classes"
            stack = next((name for name in (*FULL_SIZE, "scores") if name in content), None)
            if stack is None:
                raise ValueError(f"has 'keys' and neither {' nor '.join(map(repr, FULL_SIZE))}; save one of them")
            numbers, maps = np.atleast_1d(content[keys]), content[stack]
            if _sides(maps) != 3 or len(maps) != len(numbers):
                raise ValueError(f"{stack!r} has not one map for each of the {len(numbers)} {keys}; save it again")
            found = [(self._named_by(number, names), layer) for number, layer in zip(numbers, maps, strict=True)]
            return [*found, *([(BACKGROUND, content[BACKGROUND])] if BACKGROUND in content else [])]
        return [(self._named_by(key, names), value) for key, value in content.items()]

    def _stacked(self, content: Any, names: Sequence[str], labels: Sequence[str]) -> Maps:
        """Maps of all classes, or of the image's labels, in order."""
        maps = content[None] if _sides(content) == 2 else content
        if _sides(maps) != 3:
            found = f"an array of {_sides(maps)} dimensions" if isinstance(maps, np.ndarray) else type(maps).__name__
            raise ValueError(f"holds {found}; save a dictionary from class numbers to maps (height, width)")
        shown = sorted(labels, key=list(names).index)
        if len(maps) == len(names):
            return list(zip(names, maps, strict=True))
        if len(maps) == len(shown):
            return list(zip(shown, maps, strict=True))
        with_background = f"; if one is of the background, name it in `classes`, as {BACKGROUND}"
        raise ValueError(
            f"holds {len(maps)} maps, expected {len(names)}, of all classes, or {len(shown)}, of those that the image shows"
            + (with_background if len(maps) in (len(names) + 1, len(shown) + 1) else "; save a dictionary")
        )

    def _named_by(self, key: Any, names: Sequence[str]) -> str:
        if isinstance(key, int | np.integer):
            if 0 <= key < len(names):
                return names[int(key)]
            raise ValueError(
                f"class {int(key)} is none of 0 to {len(names) - 1}; if 0 is the background, say `classes: [{BACKGROUND}, ...]`"
            )
        if name := self._name(str(key)):
            return name
        raise ValueError(
            f"class {str(key)[:60]!r} is unknown, the nearest known is {nearest_name(str(key), self.classes)!r}; name it in "
            "`classes`, or take it away"
        )


def _sides(value: Any) -> int:
    return value.ndim if isinstance(value, np.ndarray) else 0


def _read_png(path: str) -> np.ndarray:
    """A heat map, float32 in [0, 1]."""
    try:
        with Image.open(path, formats=("PNG",)) as image:
            values, mode = label_values(image, path, oriented=False)
    except UserError:
        raise UserError(f"{path}: not a gray PNG of 8 or 16 bits; save the map without colours") from None
    except Exception as error:  # a broken file makes a decoder raise anything
        raise UserError(f"{path}: not a readable PNG ({one_line(error)}); save it again") from None
    if mode not in ("L", "I;16"):
        raise UserError(f"{path}: not a gray PNG of 8 or 16 bits; save the map without colours")
    return values.astype(np.float32) / DEPTHS[values.dtype]


def _read_hdf5(path: str, inside: str | None, names: Sequence[str]) -> tuple[Any, Sequence[str]]:
    """The arrays of a file, or of one image in it; names of the classes, where the file has them."""
    with _opened(path) as file:
        try:
            if file.attrs.get("schema") == "cam":
                names = tuple(str(name) for name in file.attrs["classes"])
            if inside and isinstance(file[inside], h5py.Dataset):
                return read_array(file, inside), names
            group = file[inside] if inside else file
            return {name: read_array(group, name) for name in group}, names
        except DAMAGED as error:
            where = f"{path}: {inside}" if inside else path
            raise UserError(f"{where}: cannot be read ({one_line(error)}); save an array for each class") from None


@contextlib.contextmanager
def _opened(path: str) -> Iterator[h5py.File]:
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise UserError(
            f"{path}: not a readable HDF5 file ({one_line(error)}); name a folder of maps, or one HDF5 file"
        ) from None
    with file:
        yield file
