"""Show what every stage of a system makes of a few images: a block of rows for each split; last the truth, if any.

The images are chosen by their place in the split and their labels alone, never by a score.
"""

from pathlib import Path

import numpy as np

from workflow_scripts.data.index import Images, Index, read_index
from workflow_scripts.look import pictures
from workflow_scripts.look.schemas import SCHEMAS
from workflow_scripts.run.command import Job, run
from workflow_scripts.store.artifacts import Reader, write

TITLES = {
    "saliency": "saliency",
    "estimated_saliency": "estimated saliency",
    "cams": "class activation maps",
    "masks": "pseudo mask",
    "predictions": "prediction",
}


def representative(index: Index, split: str, count: int) -> list[str]:
    """Ids of a few images, evenly spread over a split.

    The split is cut into equal parts; each part gives the image whose labels were shown least by the parts before, the
    one nearest to its middle where several are equal.
    """
    ids = index.split(split)
    labels = [set(index.classes_of(identifier).tolist()) for identifier in ids]
    chosen: list[str] = []
    seen: set[int] = set()
    for part in np.array_split(np.arange(len(ids)), max(1, min(count, len(ids)))) if ids else ():
        unseen = [len(labels[place] - seen) / max(1, len(labels[place])) for place in part]
        off_middle = np.abs(np.arange(len(part)) - len(part) // 2)
        best = int(part[np.lexsort((off_middle, np.negative(unseen)))[0]])
        chosen.append(ids[best])
        seen |= labels[best]
    return chosen


def block_of(split: str, ids: list[str], images: Images, columns: list[tuple[str, Reader]]) -> pictures.Block:
    """The rows of one split; artifacts that hold none of its images have no column."""
    index = images.index
    columns = [(title, reader) for title, reader in columns if any(identifier in reader for identifier in ids)]
    rows = []
    for identifier in ids:
        image = images.read(identifier)
        found: list[pictures.Cell | None] = [pictures.Cell(pictures.shown(image))]
        for _, reader in columns:
            arrays = reader.read(identifier) if identifier in reader else None
            found.append(SCHEMAS[reader.schema].cell(arrays, image, index.classes) if arrays else None)
        names = [index.classes[label] for label in index.classes_of(identifier)]
        rows.append(pictures.Row([identifier, *names], found))
    heading = f"split {split}: {len(ids)} of {len(index.rows(split))} images"
    return pictures.Block(heading, ["image", *(title for title, _ in columns)], rows)


def main(job: Job) -> None:
    settings = job.settings
    index = read_index(job.inputs.index, settings.dataset)
    columns = []
    for (stage, schema), path in zip(settings.columns, job.inputs.artifacts, strict=True):
        columns.append((f"{TITLES[stage]}\n{Path(path).stem}", Reader(path, schema, settings.dataset)))
    if job.inputs.truth:
        columns.append(("truth", Reader(job.inputs.truth, "truth", settings.dataset)))
    images = Images(index, job.inputs.images)
    blocks = [
        block_of(split, representative(index, split, settings.images), images, columns)
        for split in dict.fromkeys(settings.splits)
    ]
    picture = pictures.montage(f"{settings.system} on {settings.dataset}", blocks, index.classes)
    write(job.outputs.montage, pictures.png(picture))


if __name__ == "__main__":
    run(main, inputs=("index", "images", "truth"), lists=("artifacts",), outputs=("montage",))
