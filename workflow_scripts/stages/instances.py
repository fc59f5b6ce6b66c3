"""A mask for each box: from a label map that was made from boxes, or, as the reference, the true masks."""

from workflow_scripts.base.plugins import plugin
from workflow_scripts.base.progress import progress
from workflow_scripts.data.index import read_index
from workflow_scripts.run.command import Job, run
from workflow_scripts.store.artifacts import Reader, create


def main(job: Job) -> None:
    settings = job.settings
    index = read_index(job.inputs.index, settings.dataset)
    ids = index.split(*settings.splits)
    about = {"dataset": settings.dataset, "split": "+".join(settings.splits), "classes": index.classes}
    with create(job.outputs.instances, "instances", **about) as artifact:
        for identifier, arrays in progress(zip(ids, _read(job, index, ids), strict=True), len(ids), "instances"):
            artifact.put(identifier, **arrays)


def _read(job: Job, index, ids: list[str]):
    settings = job.settings
    if job.inputs.truth:
        truth = Reader(job.inputs.truth, "instances", settings.dataset)
        yield from map(truth.read, ids)
        return
    masks = Reader(job.inputs.masks, "mask", settings.dataset)
    boxed, objects_of = plugin("refine", "boxed_instances").boxed_instances, plugin("data", "boxes").objects_of
    for identifier in ids:
        label = masks.read(identifier)["label"]
        yield boxed(label, objects_of(index, identifier), settings.block.overlap).arrays()


if __name__ == "__main__":
    run(main, inputs=("index", "masks", "truth"), outputs=("instances",))
