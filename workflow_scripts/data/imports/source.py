"""What is imported: a folder, or a file of annotations in one, and the images that these name, which are looked up here alone."""

import os
import posixpath
import re
from collections.abc import Callable
from functools import cached_property
from pathlib import Path, PurePosixPath

from workflow_scripts.base.errors import UserError
from workflow_scripts.base.listings import PICTURE_SUFFIXES, files_below
from workflow_scripts.data.imports.records import Told
from workflow_scripts.data.index_entries import nearest_name

CLASS_MASKS, OBJECT_MASKS = "SegmentationClass", "SegmentationObject"  # beginnings of names of folders
LARGEST_TEXT = 1 << 28  # bytes of a file of annotations that is read as a whole
HEAD = 1 << 14  # bytes that tell what a JSON is
MOST_NAMES = 3
SPLITS = {"train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "dev": "val"}
SPLITS |= {"test": "test", "testing": "test"}
NO_SPLIT = {"default", "all", "trainval"}


class Source:
    """Files below a folder, and images below others.

    Args:
        path: a folder, or a file of annotations: then the others of its folder are only looked up.
        images: a further folder of images.

    Raises:
        UserError: no such file or folder, or nothing in it.
    """

    def __init__(self, path: Path, images: Path | None = None):
        for one in (path, *([images] if images else [])):
            if not one.exists():
                raise UserError(f"{one}: no such file or folder; check the path")
        if images and not images.is_dir():
            raise UserError(f"--images {images}: is no folder; name the folder that the images lie in")
        self.path, self.root = path, path if path.is_dir() else path.parent
        self.roots = [self.root, *([images] if images else [])]
        below = {root: sorted(os.path.relpath(name, root) for name in files_below(root)) for root in self.roots}
        self.files = below[self.root] if path.is_dir() else [path.name]
        self.all_files = below[self.root]
        self._pictures: dict[str, tuple[Path, str]] = {}  # by real path: its root and its name below it
        for root, names in below.items():
            for name in names:
                if self.is_picture(name):
                    self._pictures.setdefault(os.path.join(root, name), (root, name))
        self._keys: dict[str, tuple[str, set[str]]] = {}
        if not self.files:
            raise UserError(f"{path}: the folder is empty; name the folder that your images and annotations lie in")

    @staticmethod
    def is_picture(name: str) -> bool:
        """Whether a file is an image by its name, and no mask of VOC's layout."""
        path = PurePosixPath(name)
        in_masks = any(part.startswith((CLASS_MASKS, OBJECT_MASKS)) for part in path.parts[:-1])
        return path.suffix.lower() in PICTURE_SUFFIXES and not in_masks

    @property
    def pictures(self) -> list[str]:
        """Images below the folder, as paths below it."""
        return [name for root, name in self._pictures.values() if root == self.root]

    @cached_property
    def all_pictures(self) -> dict[str, str]:
        """Every image: its path, and its name below its folder."""
        return {path: name for path, (_, name) in self._pictures.items()}

    @cached_property
    def _by_name(self) -> dict[str, list[str]]:
        return self._grouped(os.path.basename)

    @cached_property
    def _by_stem(self) -> dict[str, list[str]]:
        return self._grouped(lambda path: os.path.splitext(os.path.basename(path))[0])

    def _grouped(self, key: Callable[[str], str]) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for path in self._pictures:
            found.setdefault(key(path), []).append(path)
        return found

    def with_suffix(self, *suffixes: str) -> list[str]:
        """Files of annotations with one of these endings, as paths below the folder."""
        return [name for name in self.files if name.lower().endswith(suffixes)]

    def text(self, name: str) -> str:
        """A file as text.

        Raises:
            UserError: it cannot be read, is too large, or is no UTF-8 text.
        """
        return read_text(self.root / name)

    def json_keys(self, name: str) -> tuple[str, set[str]]:
        """The first bracket of a JSON and the keys in its first kilobytes, nested ones too; ("", nothing) of other files."""
        if name not in self._keys:
            try:
                with open(self.root / name, "rb") as file:
                    head = file.read(HEAD).decode("utf-8-sig", errors="replace").lstrip()
            except OSError:
                head = ""
            bracket = head[:1] if head[:1] in ("{", "[") else ""
            self._keys[name] = bracket, set(re.findall(r'"([\w ]{1,40})"\s*:', head))
        return self._keys[name]

    def find(self, named: str, beside: str, where: str, told: Told) -> Path:
        """The image that an annotation names.

        A name with folders is looked up beside the annotation and below each folder; then, and a bare name at once, by the
        name of the file alone, at last without its ending; it must be there once.

        Args:
            named: by the annotation; may be of another system or machine.
            beside: the folder of the annotation, below the root.
            where: of the annotation, for messages.

        Raises:
            UserError: no such image, or several.
        """
        name = named.replace("\\", "/").strip()
        for root in self.roots:
            for start in dict.fromkeys((beside, "") if root == self.root else ("",)):
                path = os.path.join(root, posixpath.normpath(posixpath.join(start, name)))
                if path in self._pictures:
                    return Path(path)
        last = posixpath.basename(name)
        found = self._by_name.get(last, [])
        if not found and len(found := self._by_stem.get(os.path.splitext(last)[0], [])) == 1:
            told.note("ending", self.all_pictures[found[0]])
            return Path(found[0])
        if len(found) > 1:  # those whose folders agree with the name
            agree = {path: _common_end(path, name) for path in found}
            found = [path for path in found if agree[path] == max(agree.values())]
        if len(found) == 1:
            if "/" in posixpath.normpath(name).lstrip("/"):
                told.note("moved", self.all_pictures[found[0]])
            return Path(found[0])
        if found:
            shown = " and ".join(self.all_pictures[path] for path in found[:MOST_NAMES])
            raise UserError(
                f"{where}: {named[:200]!r} may be {shown}; give the path below {self.root} in the annotation, or import one "
                "folder at a time"
            )
        place = " and ".join(map(str, self.roots))
        if self._by_name:
            near = f", the nearest is {nearest_name(posixpath.basename(name), self._by_name)!r}"
        else:
            near = ", which has no image at all"
        raise UserError(
            f"{where}: the image {named[:200]!r} is not below {place}{near}; copy it there, or name its folder with --images"
        )


def read_text(path: Path, largest: int = LARGEST_TEXT) -> str:
    """A whole file as text.

    Raises:
        UserError: missing, too large, or no UTF-8 text.
    """
    try:
        if path.stat().st_size > largest:
            raise UserError(f"{path}: has more than {largest >> 20} MiB; split it, or export it in parts")
        return path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); check the path and its permissions") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 text (byte {error.start}); save it as UTF-8, or export it again") from None


def split_of(*names: str) -> str:
    """The split that one of these names of folders or files stands for; empty where none does."""
    for name in names:
        lowered = name.lower()
        if lowered in SPLITS:
            return SPLITS[lowered]
    return ""


def split_in(stem: str) -> str:
    """The split in a name such as `instances_train2017`."""
    return split_of(*(re.sub(r"\d+$", "", part) for part in re.split(r"[._\- ]", stem)))


def _common_end(path: str, name: str) -> int:
    """How many last parts of two paths are the same."""
    count = 0
    for one, other in zip(reversed(path.split("/")), reversed(name.split("/")), strict=False):
        if one != other:
            break
        count += 1
    return count
