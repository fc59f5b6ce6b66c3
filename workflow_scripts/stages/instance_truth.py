"""Read the true instances, apart from everything else, so that no mask leaks."""

from workflow_scripts.base.errors import UserError
from workflow_scripts.base.plugins import plugin
from workflow_scripts.base.progress import progress
from workflow_scripts.data.index import read_index
from workflow_scripts.data.index_entries import Faults
from workflow_scripts.run.command import Job, run
from workflow_scripts.store.artifacts import create


def main(job: Job) -> None:
    settings = job.settings
    index = read_index(job.inputs.index, settings.dataset)
    ids, faults = index.split(*settings.splits), Faults()
    read = plugin("data.kinds", settings.kind).instances(settings, index, job.inputs.rendered)
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


if __name__ == "__main__":
    run(main, inputs=("index", "rendered"), lists=("archives",), outputs=("truth",))
