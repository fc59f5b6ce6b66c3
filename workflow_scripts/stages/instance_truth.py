"""Read the true instances, apart from everything else, so that no mask leaks."""

from workflow_scripts.base.errors import UserError
from workflow_scripts.base.plugins import plugin
from workflow_scripts.base.progress import progress
from workflow_scripts.data.index import read_index
from workflow_scripts.data.index_entries import Faults
from workflow_scripts.data.instances import Instances, from_masks
from workflow_scripts.run.command import Job, run
from workflow_scripts.store.artifacts import Reader, create


def main(job: Job) -> None:
    settings = job.settings
    index = read_index(job.inputs.index, settings.dataset)
    ids, read, faults = index.split(*settings.splits), _reader(job, index), Faults()
    about = {"dataset": settings.dataset, "split": "+".join(settings.splits), "classes": index.classes}
    with create(job.outputs.truth, "instances", **about) as artifact:
        for identifier in progress(ids, len(ids), "true instances"):
            try:
                instances = read(identifier)
            except UserError as error:
                faults.add(str(error))
                continue
            artifact.put(identifier, **instances.arrays())
        faults.raise_if_any(f"true instances of {settings.dataset}")


def _reader(job: Job, index):
    settings = job.settings
    if settings.kind == "coco":
        return plugin("data.kinds", "coco_instances").reader(settings, index)
    if settings.kind == "voc":
        return plugin("data.kinds", "voc_instances").reader(settings, index)
    rendered = Reader(job.inputs.rendered, "truth", settings.dataset)

    def read(identifier: str) -> Instances:
        """Row i of the boxes is instance i + 1."""
        instance, boxes = rendered.read(identifier)["instance"], index.boxes_of(identifier)
        masks = [instance == number for number in range(1, len(boxes) + 1)]
        return from_masks(masks, boxes[:, 4])

    return read


if __name__ == "__main__":
    run(main, inputs=("index", "rendered"), lists=("archives",), outputs=("truth",))
