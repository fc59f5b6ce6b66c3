"""YOLO's text files, a line for each object: class, centre, width and height as shares of the image, or the points of a polygon.

Read are the layout of Ultralytics (`data.yaml`; `labels/` in the place of `images/`) and that of darknet (`obj.data` and
`obj.names`, or `classes.txt`; a text file beside each image).
"""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from workflow_scripts.base.errors import UserError, one_line
from workflow_scripts.data.imports.records import Contents, Picture, Shape, Told
from workflow_scripts.data.imports.source import Source, split_of

TITLE = "YOLO"
NAME_FILES = ("classes.txt", "obj.names", "_darknet.labels", "labels.txt")
SPLIT_KEYS = {"train": "train", "val": "val", "valid": "val", "test": "test"}
NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")
MOST = 2  # a share; those a little over the edge are cut off later
PICTURES, TEXTS = "images", "labels"


def found(source: Source) -> str:
    """A `data.yaml`, or names of classes with a text file of numbers that is called like an image."""
    if name := _settings(source):
        return name
    if name := next(iter(_named(source, ".data")), ""):
        return name
    names, texts = _names_file(source), _texts(source)
    first = next(iter(texts), "")
    if not first:
        return ""
    line = source.text(first).split("\n")[0].split() if source.path.is_dir() else []
    if names and (not line or _numbers(line)) or len(line) >= 5 and _numbers(line):
        return f"{names or 'numbers'} and text files such as {first}"
    return ""


def read(source: Source, told: Told) -> Contents:
    """Splits are those of the settings, or folders and lists called train, val or test.

    Raises:
        UserError: settings that cannot be read, or names of classes that are nowhere.
    """
    classes, splits, pose = _declared(source, told)
    texts = {name for name in source.all_files if name.lower().endswith(".txt")}
    split_by_name = _split_by_name(source, splits)

    def pictures(told: Told) -> Iterator[Picture]:
        for path, name in source.all_pictures.items():
            if splits and name not in split_by_name:
                told.note("unlisted", name)
            label = next((one for one in _label_names(name) if one in texts), None)
            picture = Picture(
                Path(path), str(source.root / label) if label else path, split=split_by_name.get(name, "")
            )
            if label is None:
                picture.annotated = False
                yield picture
                continue
            try:
                picture.shapes, picture.decimals = _objects(source, label, classes, pose)
            except UserError as error:
                told.add(str(error))
                continue
            yield picture

    return Contents(classes, pictures)


def _settings(source: Source) -> str:
    """The file of settings of Ultralytics: the source itself, `data.yaml`, or the only YAML with names of classes."""
    names = source.with_suffix(".yaml", ".yml")
    good = [name for name in names if isinstance(_loaded(source, name).get("names"), list | dict)]
    return next((name for name in good if Path(name).stem in ("data", "dataset")), good[0] if len(good) == 1 else "")


def _loaded(source: Source, name: str) -> dict:
    try:
        read = yaml.safe_load(source.text(name))
    except yaml.YAMLError as error:
        if source.path.is_dir():
            return {}
        raise UserError(f"{source.root / name}: no YAML ({one_line(error)}); correct it") from None
    return read if isinstance(read, dict) else {}


def _named(source: Source, suffix: str) -> list[str]:
    return [name for name in source.with_suffix(suffix) if "names" in source.text(name)]


def _names_file(source: Source) -> str:
    names = [name for name in source.all_files if Path(name).name in NAME_FILES or name.endswith(".names")]
    return min(names, key=lambda name: (name.count("/"), name), default="")


def _texts(source: Source) -> list[str]:
    """Text files that stand for images."""
    texts = {name for name in source.all_files if name.lower().endswith(".txt")}
    return [label for name in source.all_pictures.values() for label in _label_names(name) if label in texts]


def _label_names(name: str) -> Iterator[str]:
    """Where the objects of an image may be: in `labels/` instead of the last `images/`, or beside it."""
    stem, _ = os.path.splitext(name)
    parts = stem.split("/")
    places = [place for place, part in enumerate(parts[:-1]) if part == PICTURES]
    if places:
        yield "/".join([*parts[: places[-1]], TEXTS, *parts[places[-1] + 1 :]]) + ".txt"
    yield f"{stem}.txt"
    if not places:
        yield f"{TEXTS}/{stem}.txt"


def _declared(source: Source, told: Told) -> tuple[list[str], dict[str, list[str]], bool]:
    """Names of the classes; by split, folders and files of it, below the root; whether objects have key points."""
    if name := _settings(source):
        settings = _loaded(source, name)
        where = source.root / name
        classes = _classes(settings["names"], where)
        start = _start(source, name, settings.get("path"))
        splits: dict[str, list[str]] = {}
        for key, split in SPLIT_KEYS.items():
            given = settings.get(key) or []
            for one in given if isinstance(given, list) else [given]:
                if found := _place(source, start, str(one), where, key, told):
                    splits.setdefault(split, []).extend(found)
        return classes, splits, bool(settings.get("kpt_shape"))
    classes, splits = [], {}
    for name in _named(source, ".data"):
        settings = {}
        for line in source.text(name).splitlines():
            key, _, value = line.partition("=")
            settings[key.strip()] = value.strip()
        where = source.root / name
        names = _below(source, PurePosixPath(name).parent, settings.get("names", ""))
        if names is None:
            raise UserError(
                f"{where}: names = {settings.get('names')!r} is not below {source.root}; copy the file there"
            )
        classes = _lines(source, names)
        for key, split in SPLIT_KEYS.items():
            if key in settings and (listed := _below(source, PurePosixPath(name).parent, settings[key])):
                splits.setdefault(split, []).extend(_listed(source, listed, told))
    if not classes and (name := _names_file(source)):
        classes = _lines(source, name)
    if not classes:
        raise UserError(
            f"{source.path}: YOLO's files have numbers for classes, and their names are nowhere; write them to classes.txt, one in a "
            "line, or to `names` of data.yaml"
        )
    if not splits:
        for name in source.all_pictures.values():
            if split := split_of(*PurePosixPath(name).parts[:-1]):
                splits.setdefault(split, []).append(name)
    return classes, splits, False


def _classes(given: Any, where: Path) -> list[str]:
    """Names in the order of their numbers."""
    if isinstance(given, list):
        return [str(name).strip() for name in given]
    names = {int(number): str(name).strip() for number, name in given.items() if str(number).isdigit()}
    if sorted(names) != list(range(len(given))):
        raise UserError(f"{where}: names must be numbered 0, 1, 2...; correct them")
    return [names[number] for number in range(len(names))]


def _start(source: Source, name: str, path: Any) -> str:
    """The folder that splits are below: `path` where it is a folder there, else that of the settings."""
    folder = str(PurePosixPath(name).parent)
    folder = "" if folder == "." else folder
    if path and not os.path.isabs(str(path)):
        below = os.path.normpath(os.path.join(folder, str(path)))
        if not below.startswith("..") and (source.root / below).is_dir():
            return "" if below == "." else below
    return folder


def _place(source: Source, start: str, given: str, where: Path, key: str, told: Told) -> list[str]:
    """What a split names: a folder with a slash at its end, or the files of a list.

    A name that begins with `../` may also mean the folder itself, as archives of Roboflow have it; an absolute one is taken
    below the root where its end is there.
    """
    parts = [part for part in given.replace("\\", "/").split("/") if part not in ("", ".")]
    absolute = os.path.isabs(given)
    tries = (
        [parts[place:] for place in range(len(parts))] if absolute else [parts, [one for one in parts if one != ".."]]
    )
    for one in tries:
        name = os.path.normpath(os.path.join(start, *one)) if one else start or "."
        if name.startswith(".."):
            continue
        if (source.root / name).is_dir():
            return ["/" if name == "." else f"{name}/"]
        if name.endswith(".txt") and (source.root / name).is_file():
            return _listed(source, name, told)
    if key == "test":  # which templates name, and many data sets have not
        return []
    raise UserError(
        f"{where}: {key}: {given} is no folder or list below {source.root}; correct it, or import the folder that it is in"
    )


def _below(source: Source, folder: PurePosixPath, named: str) -> str | None:
    """A file that darknet's settings name, from the folder where darknet runs: by its path below the root, or by its end."""
    parts = [part for part in named.replace("\\", "/").split("/") if part not in ("", ".", "..")]
    tries = ["/".join(parts[place:]) for place in range(len(parts))]
    known = {*source.all_files}
    return next(
        (str(start / one) for one in tries for start in (PurePosixPath(), folder) if str(start / one) in known), None
    )


def _listed(source: Source, name: str, told: Told) -> list[str]:
    """Images of a list, as their ends: lists name them from wherever training runs. Those that are missing are faults."""
    known = {*source.all_pictures.values()}
    folder = "" if str(PurePosixPath(name).parent) == "." else f"{PurePosixPath(name).parent}/"
    found = []
    for line in _lines(source, name):
        parts = [part for part in line.replace("\\", "/").split("/") if part not in ("", ".", "..")]
        tries = (start + "/".join(parts[place:]) for place in range(len(parts)) for start in ("", folder))
        if picture := next((one for one in tries if one in known), None):
            found.append(picture)
        else:
            told.add(
                f"{source.root / name}: lists {line[:200]!r}, which is not below {source.root}; copy it there, or take it off the list"
            )
    return found


def _lines(source: Source, name: str) -> list[str]:
    return [line.strip() for line in source.text(name).splitlines() if line.strip()]


def _split_by_name(source: Source, splits: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """The split of each image that one names, by a folder (with a slash at its end) or by its own name."""
    found: dict[str, str] = {}
    for split, places in splits.items():
        folders, names = tuple(place for place in places if place.endswith("/")), {*places}
        for name in source.all_pictures.values():
            if name in names or name.startswith(folders) or "/" in places:
                found.setdefault(name, split)
    return found


def _numbers(cells: Sequence[str]) -> bool:
    return all(NUMBER.fullmatch(cell) for cell in cells)


def _objects(source: Source, name: str, classes: Sequence[str], pose: bool) -> tuple[list[Shape], int]:
    """The objects of a file, in shares of the image's sides, and with how many decimals they are written."""
    path = source.root / name
    shapes, decimals = [], 0
    for number, line in enumerate(source.text(name).splitlines(), start=1):
        cells = line.split()
        if not cells:
            continue
        where = f"{path}, line {number}"
        if not _numbers(cells) or not cells[0].isdigit():
            raise UserError(f"{where}: {line[:60]!r} is not a class number and numbers; correct the line")
        label, values = int(cells[0]), [float(cell) for cell in cells[1:]]
        if label >= len(classes):
            raise UserError(
                f"{where}: class {label}, but the classes are 0 to {len(classes) - 1}; correct the line or the names"
            )
        decimals = max([decimals, *(_decimals(cell) for cell in cells[1:])])
        values = values[:4] if pose else values
        if max(map(abs, values), default=0) > MOST:
            raise UserError(
                f"{where}: coordinates are not from 0 to 1; divide them by the width and height of the image"
            )
        if len(values) == 4:
            x, y, width, height = values
            shapes.append(Shape(classes[label], (x - width / 2, y - height / 2, x + width / 2, y + height / 2)))
        elif len(values) >= 6 and len(values) % 2 == 0:
            shapes.append(Shape(classes[label], outline=[values]))
        else:
            raise UserError(
                f"{where}: {len(cells)} numbers; expected a class and four (a box), or a class and pairs of a polygon's points"
                + ("; take the confidence away" if len(values) == 5 else "; correct the line")
            )
    return shapes, decimals


def _decimals(cell: str) -> int:
    """Digits of a share after its first zeros, as some tools write so many decimals, and others so many digits."""
    if "e" in cell.lower():
        return 12
    return len(cell.partition(".")[2].lstrip("0"))
