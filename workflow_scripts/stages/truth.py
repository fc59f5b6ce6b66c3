"""Read the truth masks, apart from everything else, so that no label leaks and a corrected mask retrains nothing."""

from workflow_scripts.base.errors import UserError
from workflow_scripts.base.plugins import plugin
from workflow_scripts.base.progress import progress
from workflow_scripts.data.checks import summary, write_findings
from workflow_scripts.data.index import read_index
from workflow_scripts.data.index_entries import Faults
from workflow_scripts.data.suspicions import MaskChecks
from workflow_scripts.run.command import Job, run
from workflow_scripts.store.artifacts import create


def main(job: Job) -> None:
    settings = job.settings
    index = read_index(job.inputs.index, settings.dataset)
    ids = index.split(*settings.splits)
    faults = Faults()
    kind = plugin("data.kinds", settings.kind)
    read = kind.truth(settings, index, rendered=job.inputs.rendered, faults=faults)
    checks = MaskChecks(index.classes, faults)
    with create(
        job.outputs.truth, "truth", dataset=settings.dataset, split="+".join(settings.splits), classes=index.classes
    ) as artifact:
        for identifier in progress(ids, len(ids), "truth"):
            try:
                arrays = read(identifier)
            except UserError as error:
                faults.add(str(error))
                continue
            shape, size = arrays["label"].shape, index.size_of(identifier)
            if shape != size:
                turned = "; if it was drawn on the photograph turned otherwise, change the data set's `orientation`"
                turned = turned if shape == size[::-1] else ""
                faults.add(
                    f"truth of {identifier!r}: mask is {_shown(shape)}, its image {_shown(size)} (H x W); restore the mask{turned}"
                )
                continue
            artifact.put(identifier, **arrays)
            checks.add(identifier, arrays["label"], index.classes_of(identifier))
        checks.end(settings.dataset)
        faults.raise_if_any(f"truth of {settings.dataset}")
    write_findings(job.outputs.findings, faults.findings)
    for line in summary(faults.findings):
        print(line)


def _shown(size) -> str:
    return f"{size[0]} x {size[1]}"


if __name__ == "__main__":
    run(main, inputs=("index", "rendered"), lists=("archives",), outputs=("truth", "findings"))
