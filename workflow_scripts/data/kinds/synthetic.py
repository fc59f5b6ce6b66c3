"""Rendered scenes: what a job of stage `render` has drawn, with its truth."""

import hashlib
from collections.abc import Callable, Iterable
from itertools import islice
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field, NonNegativeInt

from workflow_scripts.base.plugins import plugin
from workflow_scripts.config.types.datasets import Dataset, Id, Reading
from workflow_scripts.data.index_entries import Entry
from workflow_scripts.store.artifacts import Reader


class Synthetic(Dataset):
    kind: Literal["synthetic"]
    seed: NonNegativeInt = Field(description="of the renderer")

    reads: ClassVar = {
        "images": Reading(),
        "truth": Reading(),
        "instances": Reading(modules=("data.instances",)),
        "backgrounds": Reading(modules=("data.synthetic.synthetic",)),
    }
    split_keys: ClassVar = ("images",)
    rendered: ClassVar = True
    size: ClassVar = (96, 128)

    def ids(self, name: str) -> Iterable[Id]:
        return islice(((name, number) for number in range(self.splits[name].images or 0)), self.limit)


def index(settings: Any, rendered: str, **_: Any) -> tuple[dict[str, list[str]], list[Entry]]:
    """Ids of each split, and an entry for each image, of the artifact of rendered images."""
    reader = Reader(rendered, "images")
    members: dict[str, list[str]] = {name: [] for name, split in vars(settings.splits).items() if split.images}
    entries = []
    for identifier in reader.ids:
        scene = reader.read(identifier)
        members[identifier.rsplit("_", 1)[0]].append(identifier)
        height, width = scene["image"].shape[:2]
        digest = hashlib.sha256(scene["image"].tobytes()).hexdigest()
        labels = tuple(int(label) for label in scene["labels"])
        entries.append(Entry(identifier, "", height, width, digest, labels, scene["boxes"].reshape(-1, 5)))
    return members, entries


def truth(settings: Any, index: Any, rendered: str, **_: Any) -> Callable[[str], dict]:
    """What is rendered beside the images."""
    return Reader(rendered, "truth", settings.dataset).read


def instances(settings: Any, index: Any, rendered: str) -> Callable[[str], Any]:
    """Row i of the boxes is instance i + 1."""
    reader, from_masks = Reader(rendered, "truth", settings.dataset), plugin("data", "instances").from_masks

    def read(identifier: str) -> Any:
        instance, boxes = reader.read(identifier)["instance"], index.boxes_of(identifier)
        masks = [instance == number for number in range(1, len(boxes) + 1)]
        return from_masks(masks, boxes[:, 4])

    return read


def backgrounds(settings: Any, truth: Reader) -> tuple[str, dict[str, int], Callable[[str], np.ndarray]]:
    """Where they are from, their numbers by name, and the function from an id to a map of numbers."""
    contexts = plugin("data.synthetic", "synthetic").CONTEXTS
    known = {context.name: number for number, context in enumerate(contexts, start=1)}
    return "the rendered scenes", known, lambda identifier: truth.read(identifier)["context"]
