"""What planning leaves to `doctor`, as it takes longer: which photographs, labels and masks are there, and checksums."""

import hashlib
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from workflow_scripts.base.errors import UserError
from workflow_scripts.base.listings import PICTURE_SUFFIXES, table_rows
from workflow_scripts.config.planning import needs
from workflow_scripts.config.planning.members import known_members
from workflow_scripts.config.planning.needs import PRESENT, Need
from workflow_scripts.config.planning.outputs import output_path
from workflow_scripts.config.resolve import Config
from workflow_scripts.config.types import datasets
from workflow_scripts.data.index_entries import Faults
from workflow_scripts.data.kinds.coco_file import InstancesFile, image_path


def data_needs(config: Config, dataset: str) -> Iterator[Need]:
    """Archives, lists, tables and folders of a data set, and how many of the files that these name are there."""
    data, user = config.dataset(dataset), f"datasets.{dataset}"
    yield from needs.of_data(config, dataset)
    if not all(Path(output_path("unpack", archive=name)).exists() for name in data.archives):
        return
    if data.archives:
        yield from needs.files_of_data(data, user)
    try:
        if isinstance(data, datasets.CsvDataset):
            yield from _of_table(data, user)
        elif isinstance(data, datasets.VocDataset):
            yield from _of_lists(data, user)
        elif isinstance(data, datasets.CocoDataset):
            yield from _of_instances(data, user)
    except UserError as error:
        yield Need("images", user, "not to be counted", source=str(error).splitlines()[0])


def _of_table(data: datasets.CsvDataset, user: str) -> Iterator[Need]:
    table = Path(data.table)
    if not table.is_file():
        return
    (_, header), *rows = table_rows(table)
    ids = {name for names in known_members(data).values() for name in names or ()}
    cells = [dict(zip(header, row, strict=False)) for _, row in rows]
    for column, what in (("image", "images"), ("mask", needs.TRUTH)):
        named = [table.parent / row[column] for row in cells if row.get(column) and row.get("id") in ids]
        yield from _counted(what, named, user)


def _of_lists(data: datasets.VocDataset, user: str) -> Iterator[Need]:
    """Photographs of any ending; a mask of VOC's or SBD's for each image that has labels."""
    images: dict[str, dict[str, bool]] = {}
    annotations: list[Path] = []
    masks: dict[str, bool] = {}
    known, stems = known_members(data), dict[Path, set[str]]()
    for name, split in data.splits.items():
        if not split.ids:
            continue
        root = Path(split.root or data.root)
        folder = root / data.images
        if folder not in stems:
            stems[folder] = _stems(folder)
        ids = [identifier for identifier in known[name] or () if isinstance(identifier, str)]
        images.setdefault(str(folder), {}).update((identifier, identifier in stems[folder]) for identifier in ids)
        if split.labelled:
            annotations += [root / data.annotations / f"{identifier}.xml" for identifier in ids]
            masks |= {identifier: _has_mask(data, root, identifier) for identifier in ids} if data.masks else {}
    for path, there in images.items():
        if os.path.isdir(path):
            yield needs.counted(Need("images", path, user=user), [*there.values()])
    yield from _counted("annotations", annotations, user)
    if masks and data.masks and (Path(data.root) / data.masks).is_dir():
        yield needs.counted(Need(needs.TRUTH, f"{data.root}/{data.masks}", user=user), [*masks.values()])


def _has_mask(data: datasets.VocDataset, root: Path, identifier: str) -> bool:
    own = (root / data.masks / f"{identifier}.png").is_file()
    return own or bool(data.sbd) and Path(data.sbd, "cls", f"{identifier}.mat").is_file()


def _stems(folder: Path) -> set[str]:
    try:
        names = os.listdir(folder)
    except OSError:
        return set()
    parts = (os.path.splitext(name) for name in names)
    return {stem for stem, suffix in parts if suffix.lower() in PICTURE_SUFFIXES}


def _of_instances(data: datasets.CocoDataset, user: str) -> Iterator[Need]:
    """Photographs with an object; annotations, of which there are many, are read only where photographs are not there."""
    for file, folder in data.instances_files():
        path = Path(data.root) / file
        if not path.is_file():
            continue
        contents = InstancesFile(path, data.classes, Faults())
        there = {
            number: image_path(Path(data.root), folder, picture.name).is_file()
            for number, picture in contents.pictures.items()
        }
        if not all(there.values()):
            labelled = {annotation.image for annotation in contents.annotations()}
            there = {number: found for number, found in there.items() if number in labelled}
        if os.path.isdir(Path(data.root) / folder):
            found = [*there.values()][: data.limit]
            yield needs.counted(Need("images", f"{data.root}/{folder}".removesuffix("/"), user=user), found)


def _counted(what: str, paths: Iterable[Path], user: str) -> Iterator[Need]:
    """Files by their folders, each once."""
    folders: dict[str, list[bool]] = {}
    for path in dict.fromkeys(paths):
        folders.setdefault(str(path.parent), []).append(path.is_file() and path.stat().st_size > 0)
    for folder, there in folders.items():
        yield needs.counted(Need(what, folder, user=user), there)


def merged(found: Iterable[Need]) -> list[Need]:
    """Each thing once: a folder with the number of its files, where they are counted, and not without it."""
    every = list(dict.fromkeys(found))
    counts = Counter((need.what, need.path) for need in every)
    return [need for need in every if counts[need.what, need.path] == 1 or need.size or need.state != PRESENT]


def checked(need: Need) -> Need:
    """A file that is there, compared with its checksum, or with the begin of one."""
    if need.state != PRESENT or not need.checksum or not os.path.isfile(need.path):
        return need
    algorithm, _, expected = need.checksum.rpartition(":")
    with open(need.path, "rb") as file:
        digest = hashlib.file_digest(file, lambda: hashlib.new(algorithm, usedforsecurity=False)).hexdigest()
    if digest.startswith(expected.lower()):
        return need
    return replace(need, state="of another checksum, delete it", way="delete it, and get it again")
