"""How doubtful the masks of each image are, as a table, the most doubtful first: what its stages make of each other."""

from dataclasses import dataclass
from functools import partial
from itertools import combinations

import numpy as np

from workflow_scripts.base.progress import progress
from workflow_scripts.base.stopping import check
from workflow_scripts.data.index import Index, read_index
from workflow_scripts.data.maps import constant_background, label_map
from workflow_scripts.evaluation import doubt
from workflow_scripts.run.command import Job, run
from workflow_scripts.run.parallel import ordered_map
from workflow_scripts.store.artifacts import Reader
from workflow_scripts.store.csv_files import write_table

SCHEMAS = {"saliency": "saliency", "cams": "cam", "masks": "mask", "predictions": "prediction"}
SHOWN = {"cams": "maps", "masks": "mask", "predictions": "segmentation"}  # columns of those that label maps are made of


@dataclass
class State:
    """What a worker holds: the index, and the artifact of each stage that there is."""

    index: Index
    readers: dict[str, Reader]
    threshold: float


def make_state(job: Job) -> State:
    settings = job.settings
    readers = {
        stage: Reader(path, schema, settings.dataset)
        for stage, schema in SCHEMAS.items()
        if (path := getattr(job.inputs, stage))
    }
    return State(read_index(job.inputs.index, settings.dataset), readers, settings.threshold)


def parts_of(state: State, identifier: str) -> dict[str, float]:
    """What is measured of one image, as `doubt.of_stages` has it."""
    index, threshold = state.index, state.threshold
    size, classes, labels = index.size_of(identifier), index.classes_of(identifier), len(index.classes) + 1
    found = {stage: reader.read(identifier) for stage, reader in state.readers.items()}
    shown = {
        SHOWN[stage]: label_map(arrays, size, threshold if stage == "cams" else None)
        for stage, arrays in found.items()
        if stage in SHOWN
    }
    parts = {}
    if "saliency" in found:
        saliency = found["saliency"]["saliency"]
        parts = {f"saliency-{stage}": doubt.foreground_disagreement(saliency, label) for stage, label in shown.items()}
    for one, other in combinations(shown, 2):
        parts[f"{one}-{other}"] = doubt.disagreement(shown[one], shown[other], labels)
    if "cams" in found:
        soft = constant_background(found["cams"]["scores"].astype(np.float32), threshold)
        parts["maps:entropy"] = doubt.entropy(soft)
    parts["mask:labels"] = doubt.wrong_labels(shown["mask"], classes)
    if "segmentation" in shown:
        parts["segmentation:labels"] = doubt.wrong_labels(shown["segmentation"], classes)
        parts["segmentation:entropy"] = doubt.entropy(found["predictions"]["scores"].astype(np.float32))
    return parts


def main(job: Job) -> None:
    settings = job.settings
    ids, rows = read_index(job.inputs.index, settings.dataset).split(settings.split), []
    found = ordered_map(partial(make_state, job), parts_of, ids, job.workers)
    for identifier, parts in progress(zip(ids, found, strict=True), len(ids), "doubt"):
        stages = doubt.of_stages(parts)
        row: dict[str, str | None] = {"id": identifier}
        row |= {name: None if np.isnan(value) else f"{value:.4f}" for name, value in (stages | parts).items()}
        rows.append((stages["mask"], row))
        check()
    rows.sort(key=lambda row: -row[0])
    write_table(job.outputs.doubt, [row for _, row in rows])


if __name__ == "__main__":
    run(main, inputs=("index", *SCHEMAS), outputs=("doubt",))
