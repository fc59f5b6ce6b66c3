"""Bring the saliency maps of all images into one artifact: from a folder of a detector's maps, or from the network."""

from pathlib import Path

from workflow_scripts.artifacts import create
from workflow_scripts.command import Job, run
from workflow_scripts.data.images import read_saliency
from workflow_scripts.data.index import Images, read_index
from workflow_scripts.data.index_entries import Faults
from workflow_scripts.errors import UserError
from workflow_scripts.plugins import plugin
from workflow_scripts.progress import progress


def main(job: Job) -> None:
    settings = job.settings
    index = read_index(job.inputs.index, settings.dataset)
    read = _folder(Path(settings.path)) if settings.detector == "folder" else _network(job, index)
    faults = Faults()
    with create(
        job.outputs.saliency, "saliency", dataset=settings.dataset, split="all", classes=index.classes
    ) as artifact:
        for identifier in progress(index.ids, len(index.ids), "saliency"):
            try:
                saliency = read(identifier)
            except UserError as error:
                faults.add(str(error))
                continue
            if saliency.shape != index.size_of(identifier):
                (height, width), (rows, columns) = index.size_of(identifier), saliency.shape
                faults.add(
                    f"saliency of {identifier!r}: map is {rows} x {columns}, its image {height} x {width} (H x W); make it again"
                )
                continue
            artifact.put(identifier, saliency=saliency)
        faults.raise_if_any(f"saliency of {settings.dataset}")


def _folder(folder: Path):
    if not folder.is_dir():
        raise UserError(
            f"{folder}: no such folder of saliency maps; put {{id}}.png there or name another under saliency"
        )
    return lambda identifier: read_saliency(folder / f"{identifier}.png")


def _network(job: Job, index):
    detect, images = plugin("segmentation", "saliency").detector(job.inputs.weights), Images(index, job.inputs.images)
    return lambda identifier: detect(images.read(identifier))


if __name__ == "__main__":
    run(main, inputs=("index", "images", "weights"), outputs=("saliency",))
