"""Score instances against the true ones: mask AP of every class, for each split.

Serves the rules `precision_instances` (pseudo masks of boxes) and `precision_detections` (what a network finds).
"""

import json
import math

from pycocotools import mask as rle

from workflow_scripts.base.progress import progress
from workflow_scripts.data.coco_regions import image_numbers
from workflow_scripts.data.index import Index, read_index
from workflow_scripts.data.instances import Instances
from workflow_scripts.evaluation.mask_ap import Instance, average_precision
from workflow_scripts.run.command import Job, run
from workflow_scripts.store.artifacts import Reader, write


def main(job: Job) -> None:
    settings = job.settings
    index = read_index(job.inputs.index, settings.dataset)
    artifact = Reader(job.inputs.artifact, "instances", settings.dataset)
    truth = Reader(job.inputs.truth, "instances", settings.dataset)
    result: dict = {"splits": {}}
    for split in settings.splits:
        ids = index.split(split)
        true: list[list[Instance]] = [[] for _ in index.classes]
        found: list[list[Instance]] = [[] for _ in index.classes]
        numbered = zip(image_numbers(ids), ids, strict=True)  # as in COCO's JSON: they decide among equal scores
        for number, identifier in progress(numbered, len(ids), f"mask AP {split}"):
            for reader, collected in ((truth, true), (artifact, found)):
                _collect(Instances.from_arrays(reader.read(identifier)), number, index.size_of(identifier), collected)
        result["splits"][split] = {"images": len(ids)} | _measures(index, true, found)
    write(job.outputs.scores, json.dumps(result) + "\n")


def _collect(instances: Instances, image: int, size: tuple[int, int], collected: list[list[Instance]]) -> None:
    """Add an image's instances to those of their classes, run-length encoded: some hundred bytes each."""
    for row, encoded in enumerate(instances.encoded(*size)):
        pixels = float(rle.area(encoded))
        if not pixels:  # a box of which nothing is known: none was found
            continue
        collected[int(instances.boxes[row, 4])].append(
            Instance(
                image,
                encoded,
                pixels if instances.areas is None else float(instances.areas[row]),
                1.0 if instances.scores is None else float(instances.scores[row]),
                instances.crowd is not None and bool(instances.crowd[row]),
            )
        )


def _measures(index: Index, true: list[list[Instance]], found: list[list[Instance]]) -> dict:
    """By class; null where the truth has no such object."""
    counts = {"instances": sum(map(len, true)), "found": sum(map(len, found))}
    classes = {}
    for name, objects, guesses in zip(index.classes, true, found, strict=True):
        values = average_precision(objects, guesses)
        classes[name] = {measure: None if math.isnan(value) else value for measure, value in values.items()}
    return counts | {"classes": classes}


if __name__ == "__main__":
    run(main, inputs=("index", "artifact", "truth"), outputs=("scores",))
