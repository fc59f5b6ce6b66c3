"""Families of modules that bring blocks, the classes found in them, and the sections of the configuration."""

import ast
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache, reduce
from importlib.metadata import entry_points
from importlib.util import find_spec
from operator import or_
from pathlib import Path
from typing import Annotated, Any, get_args

from pydantic import BaseModel, Discriminator

from workflow_scripts.base import plugins
from workflow_scripts.base.errors import UserError
from workflow_scripts.config import fingerprint
from workflow_scripts.config.declared import TYPES, parsed, read
from workflow_scripts.config.fingerprint import PACKAGE, ROOT
from workflow_scripts.config.types import blocks, instance_blocks, mask_blocks
from workflow_scripts.config.types.affinity_blocks import Affinity
from workflow_scripts.config.types.classifiers import Classifier
from workflow_scripts.config.types.datasets import Dataset
from workflow_scripts.config.types.paper_tables import Table
from workflow_scripts.config.types.parts import AnyOf, Backbone, Of
from workflow_scripts.config.types.saliency_blocks import Detector, FolderSaliency, SaliencyNetwork
from workflow_scripts.config.types.segmenters import Segmenter
from workflow_scripts.config.types.transformers import Transformer

GROUP = "wsss.plugins"
# What the modules of every family may import; each also its own family, but papers do not import each other.
ROOMS = {"base", "data", "networks", "run", "store", "training"}
COPIED = (mask_blocks.FolderMask, mask_blocks.TruthMask, mask_blocks.ChosenMask, mask_blocks.PartlyTrueMask)


@dataclass(frozen=True)
class Family:
    """Modules of one folder, each with a class for its blocks.

    Attributes:
        folder: of the modules, and their package, below this one.
        base: what their classes are derived from.
        key: of a block, which says whose class it has.
        module: the name of the module, of the value of this key.
        without_module: classes that need no module.
    """

    folder: str
    base: type[BaseModel]
    key: str
    module: str = "{}"
    without_module: tuple[type[BaseModel], ...] = ()


FAMILIES = {
    "datasets": Family("data.kinds", Dataset, "kind"),
    "saliency": Family("detectors", Detector, "detector", without_module=(FolderSaliency,)),
    "classifiers": Family("methods", Classifier, "method"),
    "affinities": Family("refine", Affinity, "network"),
    "masks": Family("refine", mask_blocks.MaskRule, "rule", "{}_mask", COPIED),
    "segmenters": Family("segmentation", Segmenter, "network"),
    "instance_networks": Family("instance_segmentation", instance_blocks.InstanceNetwork, "network"),
    "backbones": Family("networks", Backbone, "name"),
    "transformers": Family("networks", Transformer, "name"),
    "saliency_networks": Family("networks", SaliencyNetwork, "name", "saliency_{}"),
}


def use(named: Any, where: str = "config") -> None:
    """Let modules also come from these folders, and from installed packages with the entry point `wsss.plugins`.

    Args:
        named: what the settings have as `plugins`.
        where: file and line of that.

    Raises:
        UserError: a folder is not there.
    """
    if not isinstance(named, list | tuple) or not all(isinstance(folder, str) for folder in named):
        raise UserError(f"{where}: plugins: expected a list of folders, found {named!r}; write [folder]")
    for folder in named:
        if not os.path.isdir(folder) or os.pathsep in folder:
            raise UserError(
                f"{where}: plugins: {folder}: no such folder, seen from {os.getcwd()}; correct it, or take it away"
            )
    found = [*named, *installed()]
    if found == plugins.folders():
        return
    os.environ[plugins.FOLDERS] = os.pathsep.join(found)
    fingerprint.forget()
    for cached in (outside, members, union, sections, keys):
        cached.cache_clear()


@cache
def installed() -> tuple[str, ...]:
    """Folders of the installed packages that bring plug-ins; none of them is imported."""
    specs = [(entry, find_spec(entry.value)) for entry in entry_points(group=GROUP)]
    for entry, spec in specs:
        if spec is None or not spec.submodule_search_locations:
            raise UserError(f"entry point {entry.name!r} of {GROUP}: no package {entry.value!r}; install it anew")
    return tuple(str(Path(folder)) for _, spec in specs for folder in spec.submodule_search_locations)


@cache
def own(folder: str) -> tuple[type, ...]:
    """The classes of blocks in our modules of a folder."""
    files = sorted(ROOT.joinpath(*folder.split(".")).glob("*.py"))
    return tuple(cls for path in files for cls in read(path, f"{PACKAGE}.{folder}.{path.stem}"))


@cache
def outside() -> tuple[type, ...]:
    """The classes of blocks in the modules from outside.

    Raises:
        UserError: a name is taken, or a module imports what ours may not either.
    """
    taken = {
        path.stem: path for about in FAMILIES.values() for path in ROOT.joinpath(*about.folder.split(".")).glob("*.py")
    }
    files = [
        path for folder in plugins.folders() for path in sorted(Path(folder).glob("*.py")) if path.stem != "__init__"
    ]
    classes = []
    for path in files:
        if path.stem in taken:
            raise UserError(f"{path}: {taken[path.stem]} has this name; rename the file and what it brings")
        taken[path.stem] = path
        found = read(path, path.stem)
        homes = [about for about in FAMILIES.values() if any(issubclass(cls, about.base) for cls in found)]
        folders = {about.folder for about in homes}
        if len(folders) > 1:
            raise UserError(f"{path}: has blocks of {' and '.join(sorted(folders))}; give each a file of its own")
        for cls in found:
            cls.__module__ = f"{PACKAGE}.{''.join(folders)}.{path.stem}"
        for about in homes:
            _check_name(path, about, found)
        _check_imports(path, folders or {about.folder for about in FAMILIES.values()})
        classes += found
    return tuple(classes)


def _check_name(path: Path, about: Family, classes: Iterable[type[BaseModel]]) -> None:
    """A module is found by the value that its blocks have."""
    for cls in classes:
        if issubclass(cls, about.base) and about.key in cls.model_fields:
            for value in get_args(cls.model_fields[about.key].annotation):
                if (wanted := about.module.format(value)) != path.stem:
                    raise UserError(
                        f"{path}: blocks with {about.key}: {value} are looked for in {wanted}.py; rename one"
                    )


def _check_imports(path: Path, folders: Iterable[str]) -> None:
    """What the linter asks of our modules."""
    allowed = ROOMS | ({folder.partition(".")[0] for folder in folders} - {"methods"})
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.ImportFrom) and node.level:
            raise UserError(f"{path}:{node.lineno}: a relative import; name the module in full, from {PACKAGE} on")
        for module in fingerprint.imported(node) if isinstance(node, ast.Import | ast.ImportFrom) else ():
            _, *inner = module.split(".")
            if not module.startswith(f"{PACKAGE}.") or module.startswith(TYPES) or inner[0] in allowed:
                continue
            if not path.with_name(f"{inner[-1]}.py").exists():
                raise UserError(
                    f"{path}:{node.lineno}: imports {module}; of {PACKAGE} it may import "
                    f"{', '.join(sorted(allowed))} and config.types alone"
                )


@cache
def members(family: str) -> tuple[type[BaseModel], ...]:
    """The classes of a family."""
    about = FAMILIES[family]
    known = (*own(about.folder), *outside())
    found = [cls for cls in known if issubclass(cls, about.base) and about.key in cls.model_fields]
    return (*found, *about.without_module)


@cache
def union(family: str) -> Any:
    """The type of a block of any class of a family."""
    found = members(family)
    return Annotated[reduce(or_, found), Discriminator(FAMILIES[family].key)] if len(found) > 1 else found[0]


AnyOf.union = union


def classes(type_: Any) -> tuple[str, dict[str, type[BaseModel]]]:
    """Of a union: the key that tells its classes apart, and these by its values; of one class no key and none."""
    for item in getattr(type_, "__metadata__", ()):
        if isinstance(item, Discriminator) and isinstance(key := item.discriminator, str):
            found = get_args(get_args(type_)[0])
            return key, {value: cls for cls in found for value in get_args(cls.model_fields[key].annotation)}
    return "", {}


@cache
def sections() -> dict[str, Any]:
    """The sections of named blocks and the type of their blocks."""
    return {
        "saliency": union("saliency"),
        "classifiers": union("classifiers"),
        "cams": blocks.AnyCam,
        "affinities": union("affinities"),
        "masks": union("masks"),
        "segmenters": union("segmenters"),
        "predictions": blocks.Prediction,
        "systems": blocks.System,
        "tunings": blocks.Tuning,
        "instances": instance_blocks.AnyInstances,
        "instance_networks": union("instance_networks"),
        "instance_systems": instance_blocks.InstanceSystem,
        "tables": Table,
    }


@cache
def keys(block: Any) -> frozenset[str]:
    """Keys of a type of blocks and of all that is within them."""
    found = frozenset(getattr(block, "model_fields", ()))
    for field in getattr(block, "model_fields", {}).values():
        inner = [union(item.family) for item in field.metadata if isinstance(item, AnyOf)] or [field.annotation]
        found = found.union(*map(keys, inner))
    return found.union(*map(keys, get_args(block)))


@cache
def references(block: Any) -> dict[str, str]:
    """Keys of a type of blocks that name another one, or several, and the section that has it."""
    if not hasattr(block, "model_fields"):
        return {key: section for part in get_args(block) for key, section in references(part).items()}
    named = {key: next(_sections(field.metadata, field.annotation), None) for key, field in block.model_fields.items()}
    return {key: section for key, section in named.items() if section}


def _sections(metadata: Iterable[Any], annotation: Any) -> Iterator[str]:
    yield from (item.section for item in metadata if isinstance(item, Of))
    for part in get_args(annotation):
        yield from _sections(getattr(part, "__metadata__", ()), part)


def module(block: BaseModel) -> str:
    """The module that brings the class of a block, below the package: methods.eps."""
    return type(block).__module__.removeprefix(f"{PACKAGE}.")
