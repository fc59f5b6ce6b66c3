"""A folder for each class: `cat/1.jpg`, or below folders of splits `train/cat/1.jpg`."""

import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from workflow_scripts.base.digests import file_sha256
from workflow_scripts.data.imports.records import Contents, Picture, Told
from workflow_scripts.data.imports.source import SPLITS, Source
from workflow_scripts.data.kinds.csv import NO_CLASS, NO_OBJECT

TITLE = "a folder for each class"
NO_CLASSES = {"images", "image", "img", "labels", "annotations", "masks", "photos", "pictures", "jpegimages"}
NEGATIVES = NO_CLASS | NO_OBJECT | {"negatives"}


def found(source: Source) -> str:
    """Pictures in two folders or more, none of which is called as no class would be."""
    if not source.path.is_dir():
        return ""
    _, folders, _ = _placed(source)
    names = set(folders)
    if len(names) < 2 or names & NO_CLASSES or any(name.lower() in SPLITS for name in names):
        return ""
    return f"pictures in {len(names)} folders, such as {min(names)}/"


def read(source: Source, told: Told) -> Contents:
    """Labels are the names of the folders; the same file in two of them has both."""
    splits, folders, loose = _placed(source)
    same: dict[tuple[str, str], list[str]] = {}
    for names in folders.values():
        for name in names:
            same.setdefault((_split(name, splits), os.path.basename(name)), []).append(name)

    def pictures(told: Told) -> Iterator[Picture]:
        for name in loose:
            told.note("loose", name)
        for (split, _), names in same.items():
            for group in _equal(source.root, names):
                classes = [name.split("/")[1 if splits else 0] for name in group]
                labels = tuple(dict.fromkeys(one for one in classes if one.lower() not in NEGATIVES))
                if len(group) > 1:
                    told.note("two_folders", " and ".join(group))
                for one in {*classes}.difference(labels):
                    told.note("background_word", f"{one}/")
                path = source.root / group[0]
                yield Picture(path, str(path), labels=labels, split=split)

    return Contents(sorted(name for name in folders if name.lower() not in NEGATIVES), pictures, complete=True)


def _placed(source: Source) -> tuple[bool, dict[str, list[str]], list[str]]:
    """Whether the topmost folders are splits; pictures by class; those of no class."""
    parts = {name: PurePosixPath(name).parts for name in source.pictures}
    tops = {one[0] for one in parts.values() if len(one) > 1}
    splits = bool(tops) and all(top.lower() in SPLITS for top in tops)
    depth = 1 if splits else 0
    folders: dict[str, list[str]] = {}
    for name, one in parts.items():
        if len(one) > depth + 1:
            folders.setdefault(one[depth], []).append(name)
    return splits, folders, [name for name, one in parts.items() if len(one) <= depth + 1]


def _split(name: str, splits: bool) -> str:
    return name.split("/")[0] if splits else ""


def _equal(root: Path, names: list[str]) -> list[list[str]]:
    """Files of one name, those of the same bytes together."""
    if len(names) == 1:
        return [names]
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(file_sha256(root / name), []).append(name)
    return list(groups.values())
