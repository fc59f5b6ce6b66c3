"""What stands beside an artifact of results: the images of its data set, and the truth."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from workflow_scripts.base.errors import UserError
from workflow_scripts.data.index import Images, Index, read_index
from workflow_scripts.data.index_entries import nearest_name
from workflow_scripts.store.artifacts import Reader


@dataclass
class DataSet:
    """The index, its images and, where there is one, the truth."""

    index: Index
    images: Images
    truth: Reader | None


def find_data_set(artifact: Path, dataset: str, results: Path | None) -> DataSet:
    """Open `{results}/{dataset}`, or the nearest folder above the artifact that holds an index."""
    if results is None:
        folder = next((parent for parent in artifact.resolve().parents if (parent / "index.h5").exists()), None)
        if folder is None:
            raise UserError(
                f"{artifact}: no index.h5 in the folders above it, so its images are unknown; name their folder with --results"
            )
    else:
        folder = results / dataset
    index = read_index(str(folder / "index.h5"), dataset)
    rendered, truth = folder / "rendered" / "images.h5", folder / "truth.h5"
    images = Images(index, str(rendered) if rendered.exists() else None)
    return DataSet(index, images, Reader(truth, "truth", dataset) if truth.exists() else None)


def asked_for(known: Sequence[str], ids: Sequence[str], path: Path) -> list[str]:
    """The ids, each once; one that is not known is refused."""
    held = set(known)
    for identifier in ids:
        if identifier not in held:
            near = f"the nearest known id is {nearest_name(identifier, known)!r}" if known else "it holds no image"
            raise UserError(f"{path}: has no image {identifier!r}; {near}")
    return list(dict.fromkeys(ids))


def evenly_spread(known: Sequence[str], number: int | None) -> list[str]:
    """So many of the ids; all with None, or where there are no more."""
    places = np.linspace(0, len(known) - 1, min(number or len(known), len(known))).round().astype(int)
    return [known[place] for place in places]
