"""Read the truth masks, apart from everything else, so that no label leaks and a corrected mask retrains nothing."""

from functools import partial
from pathlib import Path

from workflow_scripts.artifacts import Reader, create
from workflow_scripts.command import Job, run
from workflow_scripts.data.checks import summary
from workflow_scripts.data.images import read_label_png
from workflow_scripts.data.index import read_index
from workflow_scripts.data.index_entries import Faults
from workflow_scripts.errors import UserError
from workflow_scripts.plugins import plugin
from workflow_scripts.progress import progress


def main(job: Job) -> None:
    settings = job.settings
    index = read_index(job.inputs.index, settings.dataset)
    ids = index.split(*settings.splits)
    read = _reader(job, index)
    faults = Faults()
    with create(
        job.outputs.truth, "truth", dataset=settings.dataset, split="+".join(settings.splits), classes=index.classes
    ) as artifact:
        for identifier in progress(ids, len(ids), "truth"):
            try:
                arrays = read(identifier)
            except UserError as error:
                faults.add(str(error))
                continue
            if arrays["label"].shape != index.size_of(identifier):
                faults.add(
                    f"truth of {identifier!r}: mask is {_shown(arrays['label'].shape)}, "
                    f"its image {_shown(index.size_of(identifier))} (H x W); restore the mask"
                )
                continue
            artifact.put(identifier, **arrays)
        faults.raise_if_any(f"truth of {settings.dataset}")
    for line in summary(faults.findings):
        print(line)


def _reader(job: Job, index):
    settings = job.settings
    if settings.kind == "synthetic":
        return Reader(job.inputs.rendered, "truth", settings.dataset).read
    if settings.kind == "voc":
        return _voc_reader(settings, len(index.classes))
    if settings.kind == "coco":
        return plugin("data", "coco_truth").reader(settings, index)
    paths = plugin("data", "csv_table").read_mask_paths(Path(settings.table))

    def path_of(identifier: str) -> Path:
        if identifier not in paths:
            raise UserError(
                f"{settings.table}: image {identifier!r} has no mask, but its split is scored; fill in the column 'mask'"
            )
        return paths[identifier]

    return partial(_read_png, path_of, None, len(index.classes))


def _voc_reader(settings, num_classes: int):
    ids, folder = plugin("data", "voc").mask_ids(settings.classes), Path(settings.root) / settings.masks
    read_png = partial(_read_png, lambda identifier: folder / f"{identifier}.png", ids, num_classes)
    if not settings.sbd:
        return read_png
    read_mat = plugin("data", "sbd").read_label_mat

    def read(identifier: str) -> dict:
        """VOC's own mask, which has void borders; of SBD where there is none."""
        path = Path(settings.sbd) / "cls" / f"{identifier}.mat"
        if (folder / f"{identifier}.png").exists() or not path.exists():
            return read_png(identifier)
        return {"label": read_mat(path, ids)}

    return read


def _read_png(path_of, ids, num_classes: int, identifier: str) -> dict:
    return {"label": read_label_png(path_of(identifier), ids, num_classes)}


def _shown(size) -> str:
    return f"{size[0]} x {size[1]}"


if __name__ == "__main__":
    run(main, inputs=("index", "rendered"), lists=("archives",), outputs=("truth",))
