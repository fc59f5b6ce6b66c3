"""Write the gallery: a page that shows what every stage makes of many images, to be opened from disk or over HTTP.

`files/` holds the page's own code (`workflow_scripts/look/gallery/page`), `data.js`, which names the columns and rows and
how each scores, and `rows/{number}.js` with the maps of one image, which the page loads when it comes into view. All of
it are scripts, as a page that is opened from disk may read nothing else.
"""

import hashlib
import html
import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import matplotlib
import numpy as np

from workflow_scripts.base.progress import progress
from workflow_scripts.data.beside import evenly_spread
from workflow_scripts.data.index import Images, Index, read_index
from workflow_scripts.data.maps import label_map
from workflow_scripts.evaluation.miou import confusion_matrix, intersection_over_union, mean_intersection_over_union
from workflow_scripts.evaluation.saliency import foreground_iou
from workflow_scripts.look import gallery, pictures
from workflow_scripts.look.gallery import tiles
from workflow_scripts.look.schemas import SCHEMAS
from workflow_scripts.run.command import Job, run
from workflow_scripts.run.parallel import ordered_map
from workflow_scripts.store.artifacts import Reader, write
from workflow_scripts.store.csv_files import read_table
from workflow_scripts.store.folders import listing, replaced_folder

PAGE = Path(gallery.__file__).parent / "page"


@dataclass
class State:
    """What a worker holds: images, and the artifacts with the ids that they hold and the thresholds of their maps."""

    images: Images
    side: int
    columns: list[tuple[Reader, frozenset[str], float | None]]
    truth: tuple[Reader, frozenset[str]] | None
    doubts: list[dict[str, float]]  # of the columns


def make_state(job: Job, ids: Sequence[str]) -> State:
    settings, inputs = job.settings, job.inputs
    thresholds = [json.loads(Path(path).read_text())["threshold"] for path in inputs.thresholds]
    columns, wanted = [], frozenset(ids)
    for column, path in zip(settings.columns, inputs.artifacts, strict=True):
        threshold = None
        if SCHEMAS[column.schema].threshold:
            threshold = thresholds.pop(0) if inputs.thresholds else settings.threshold
        reader = Reader(path, column.schema, settings.dataset)
        columns.append((reader, wanted & frozenset(reader.ids), threshold))
    truth = None
    if inputs.truth:
        reader = Reader(inputs.truth, "truth", settings.dataset)
        truth = reader, wanted & frozenset(reader.ids)
    images = Images(read_index(inputs.index, settings.dataset), inputs.images)
    return State(images, settings.side, columns, truth, doubts_of(job))


def doubts_of(job: Job) -> list[dict[str, float]]:
    """How doubtful each column's images are, by id; nothing where it is not known."""
    tables = [read_table(path, dtype={"id": str}, index_col="id") for path in job.inputs.doubts]
    named = [column.doubt for column in job.settings.columns]
    return [tables[doubt[0]][doubt[1]].dropna().to_dict() if doubt else {} for doubt in named]


def cell_of(
    schema: str,
    arrays: dict[str, np.ndarray],
    truth: np.ndarray | None,
    threshold: float | None,
    size: tuple,
    labels: int,
) -> tiles.Cell:
    """What an artifact holds of one image, scored where the truth is known.

    Args:
        schema: saliency, cam, mask or prediction.
        arrays: as `artifacts.Reader.read` gives them.
        truth: uint8 (H, W), or None.
        threshold: background score of a cam's label map.
        size: height and width of the image, and of the picture.
        labels: number of classes and background.
    """
    image, picture = size
    kind = SCHEMAS[schema]
    cell = tiles.Cell(soft=kind.soft(arrays, picture))
    if not kind.label_map:
        cell.iou = foreground_iou(arrays["saliency"], truth) if truth is not None else None
        return cell
    label = label_map(arrays, image, threshold)
    cell.label = tiles.resized(label, picture)
    if truth is not None:
        confusion = confusion_matrix(label, truth, labels, missed_column=True)
        cell.iou = mean_intersection_over_union(confusion)
        each = intersection_over_union(confusion)
        cell.class_iou = {int(value): float(each[value]) for value in np.flatnonzero(~np.isnan(each))}
    return cell


@dataclass(frozen=True)
class Row:
    """What is told of an image: maps in a script of its own, the rest in `data.js`; the truth is the last column."""

    script: str
    iou: list[float | None]
    doubt: list[float | None]
    has: list[bool]
    preview: str


def row(state: State, identifier: str) -> Row:
    index = state.images.index
    image = index.size_of(identifier)
    size = image, tiles.fitted(*image, state.side)
    reader, scored = state.truth or (None, ())
    truth = reader.read(identifier)["label"] if reader and identifier in scored else None
    cells: list[tiles.Cell | None] = []
    for reader, held, threshold in state.columns:
        arrays = reader.read(identifier) if identifier in held else None
        labels = len(index.classes) + 1
        cells.append(cell_of(reader.schema, arrays, truth, threshold, size, labels) if arrays else None)
    cells.append(tiles.Cell(tiles.resized(truth, size[1])) if truth is not None else None)
    photograph = state.images.read(identifier)
    record = tiles.record(tiles.jpeg(photograph, size[1]), size[1], cells)
    return Row(
        json.dumps(record, separators=(",", ":")),
        [tiles.rounded(cell.iou) if cell else None for cell in cells],
        [*(tiles.rounded(doubt.get(identifier)) for doubt in state.doubts), None],
        [cell is not None for cell in cells],
        tiles.preview(photograph),
    )


def about(job: Job, index: Index, ids: Sequence[str], rows: Sequence[Row]) -> dict:
    """What `data.js` says: classes, colours, columns and, of every row, id, splits, labels, IoU and a preview."""
    settings = job.settings
    columns = [vars(column) for column in settings.columns]
    if job.inputs.truth:
        columns.append({"stage": "truth", "schema": "truth", "name": "", "systems": [], "refined": False})
    members = [set(index.split(split)) for split in settings.splits]
    shape = index.sizes[[index.row[identifier] for identifier in ids]] if ids else np.ones((1, 2))
    inferno = np.rint(255 * matplotlib.colormaps["inferno"](np.arange(256))[:, :3]).astype(int)
    return {
        "dataset": settings.dataset,
        "classes": list(index.classes),
        "splits": settings.splits,
        "aspect": round(float(np.clip(np.median(shape[:, 0] / shape[:, 1]), 0.5, 1.5)), 3),
        "palette": pictures.PALETTE[[*range(len(index.classes) + 1), pictures.VOID]].tolist(),
        "heat": inferno.tolist(),
        "columns": columns,
        "rows": [
            {
                "id": identifier,
                "splits": [place for place, held in enumerate(members) if identifier in held],
                "labels": (index.classes_of(identifier) + 1).tolist(),
                "iou": row.iou,
                "doubt": row.doubt,
                "has": "".join("01"[there] for there in row.has),
                "preview": row.preview,
            }
            for identifier, row in zip(ids, rows, strict=True)
        ],
    }


def main(job: Job) -> None:
    settings, page = job.settings, Path(job.outputs.page)
    index = read_index(job.inputs.index, settings.dataset)
    chosen = (
        identifier for split in settings.splits for identifier in evenly_spread(index.split(split), settings.images)
    )
    ids, rows = list(dict.fromkeys(chosen)), []
    with replaced_folder(page.parent / "files") as folder:
        (folder / "rows").mkdir()
        found = ordered_map(partial(make_state, job, ids), row, ids, job.workers)
        for number, one in enumerate(progress(found, len(ids), "gallery")):
            (folder / "rows" / f"{number}.js").write_text(f"gallery.row({number},{one.script});\n", encoding="utf-8")
            rows.append(replace(one, script=""))
        told = about(job, index, ids, rows)
        (folder / "data.js").write_text(f"gallery.data({json.dumps(told, separators=(',', ':'))});\n", encoding="utf-8")
        for source in PAGE.iterdir():
            if source.name != "index.html":
                shutil.copyfile(source, folder / source.name)
        files = listing(folder, "files")
        page.unlink(missing_ok=True)  # a page never stands beside the files of another
    write(job.outputs.listing, files)
    version = hashlib.sha256(files.encode()).hexdigest()[:12]  # so that a browser keeps no file of another gallery
    text = (PAGE / "index.html").read_text(encoding="utf-8")
    text = text.replace("{dataset}", html.escape(settings.dataset)).replace("{version}", version)
    write(page, text)


if __name__ == "__main__":
    run(
        main,
        inputs=("index", "images", "truth"),
        lists=("artifacts", "thresholds", "doubts"),
        outputs=("page", "listing"),
    )
