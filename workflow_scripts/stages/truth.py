"""Read the truth masks, apart from everything else, so that no label leaks and a corrected mask retrains nothing."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np

from workflow_scripts.base.errors import UserError
from workflow_scripts.base.plugins import plugin
from workflow_scripts.base.progress import progress
from workflow_scripts.data.checks import summary, write_findings
from workflow_scripts.data.index import Index, read_index
from workflow_scripts.data.index_entries import Faults
from workflow_scripts.data.readers.images import read_label_png
from workflow_scripts.data.suspicions import MaskChecks
from workflow_scripts.run.command import Job, plain, run
from workflow_scripts.store.artifacts import Reader, create

MOST_SHOWN = 20  # values of classes in a message


def main(job: Job) -> None:
    settings = job.settings
    index = read_index(job.inputs.index, settings.dataset)
    ids = index.split(*settings.splits)
    faults = Faults()
    read = _reader(job, index, faults)
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


def _reader(job: Job, index, faults: Faults):
    settings = job.settings
    if settings.kind == "synthetic":
        return Reader(job.inputs.rendered, "truth", settings.dataset).read
    if settings.kind == "voc":
        return _voc_reader(settings, index)
    if settings.kind == "coco":
        return plugin("data.kinds", "coco_truth").reader(settings, index, faults)
    paths = plugin("data.kinds", "csv_table").read_mask_paths(Path(settings.table))

    def path_of(identifier: str) -> Path:
        if identifier not in paths:
            raise UserError(
                f"{settings.table}: image {identifier!r} has no mask, but its split is scored; fill in the column 'mask'"
            )
        return paths[identifier]

    read_png = _png_reader(path_of, settings, index, {number: number for number in range(1, len(index.classes) + 1)})

    def read(identifier: str) -> dict:
        """The mask, or background alone where the table says that the image shows none of the classes."""
        if identifier in paths or len(index.classes_of(identifier)):
            return read_png(identifier)
        return {"label": np.zeros(index.size_of(identifier), np.uint8)}

    return read


def _voc_reader(settings, index):
    ids, folder = plugin("data.kinds", "voc").mask_ids(settings.classes), Path(settings.root) / settings.masks
    read_png = _png_reader(lambda identifier: folder / f"{identifier}.png", settings, index, ids)
    if not settings.sbd:
        return read_png
    read_mat = plugin("data.kinds", "sbd").read_label_mat

    def read(identifier: str) -> dict:
        """VOC's own mask, which has void borders; of SBD where there is none."""
        path = Path(settings.sbd) / "cls" / f"{identifier}.mat"
        if (folder / f"{identifier}.png").exists() or not path.exists():
            return read_png(identifier)
        return {"label": read_mat(path, ids)}

    return read


def _png_reader(path_of: Callable[[str], Path], settings, index: Index, ids: dict[int, int]):
    """The function from an id to its label map; `ids` are the values that a mask has, unless the data set gives its own."""
    classes, given = index.classes, plain(settings.mask_ids)
    if given is not None:
        ids = {given[name]: number for number, name in enumerate(classes, start=1)}
    why = "" if given or list(ids) == list(ids.values()) else ", as in PASCAL VOC, whose names the classes have"
    expected = ", ".join(f"{value} for {classes[number - 1]}" for value, number in list(ids.items())[:MOST_SHOWN])
    own = json.dumps({name: number for number, name in enumerate(classes[:MOST_SHOWN], start=1)})
    way_out = f"expected {expected}{why}; set other values by `mask_ids: {own}` in the data set, or "
    return lambda identifier: {"label": read_label_png(path_of(identifier), ids, len(classes), index.oriented, way_out)}


def _shown(size) -> str:
    return f"{size[0]} x {size[1]}"


if __name__ == "__main__":
    run(main, inputs=("index", "rendered"), lists=("archives",), outputs=("truth", "findings"))
