"""Families of modules that bring blocks, the classes found in them, and the sections of the configuration."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache, reduce
from operator import or_
from typing import Annotated, Any, get_args

from pydantic import BaseModel, Discriminator

from workflow_scripts.config.declared import read
from workflow_scripts.config.fingerprint import PACKAGE, ROOT
from workflow_scripts.config.types import blocks, instance_blocks, mask_blocks
from workflow_scripts.config.types.affinity_blocks import Affinity
from workflow_scripts.config.types.classifiers import Classifier
from workflow_scripts.config.types.paper_tables import Table
from workflow_scripts.config.types.parts import AnyOf, Backbone, Of
from workflow_scripts.config.types.saliency_blocks import Detector, FolderSaliency, SaliencyNetwork
from workflow_scripts.config.types.segmenters import Segmenter
from workflow_scripts.config.types.transformers import Transformer

COPIED = (mask_blocks.FolderMask, mask_blocks.TruthMask, mask_blocks.ChosenMask, mask_blocks.PartlyTrueMask)


@dataclass(frozen=True)
class Family:
    """Modules of one folder whose classes have one base and are told apart by one key; and classes that need no module."""

    folder: str
    base: type[BaseModel]
    key: str
    without_module: tuple[type[BaseModel], ...] = ()


FAMILIES = {
    "saliency": Family("detectors", Detector, "detector", (FolderSaliency,)),
    "classifiers": Family("methods", Classifier, "method"),
    "affinities": Family("refine", Affinity, "network"),
    "masks": Family("refine", mask_blocks.MaskRule, "rule", COPIED),
    "segmenters": Family("segmentation", Segmenter, "network"),
    "instance_networks": Family("instance_segmentation", instance_blocks.InstanceNetwork, "network"),
    "backbones": Family("networks", Backbone, "name"),
    "transformers": Family("networks", Transformer, "name"),
    "saliency_networks": Family("networks", SaliencyNetwork, "name"),
}


@cache
def declared(folder: str) -> tuple[type, ...]:
    """All classes of blocks in the modules of a folder."""
    files = sorted(ROOT.joinpath(folder).glob("*.py"))
    return tuple(found for path in files for found in read(path, f"{PACKAGE}.{folder}.{path.stem}").values())


@cache
def union(family: str) -> Any:
    """The type of a block of any class of a family."""
    about = FAMILIES[family]
    found = [cls for cls in declared(about.folder) if issubclass(cls, about.base) and about.key in cls.model_fields]
    members = (*found, *about.without_module)
    return Annotated[reduce(or_, members), Discriminator(about.key)] if len(members) > 1 else members[0]


AnyOf.union = union


@cache
def sections() -> dict[str, Any]:
    """The sections of named blocks and the type of their blocks."""
    return {
        "saliency": union("saliency"),
        "classifiers": union("classifiers"),
        "cams": blocks.Cam,
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
