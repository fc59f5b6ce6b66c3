"""Look into any result: print in words what is in it, or draw a few of its images.

    wsss inspect results/demo/seed-0/masks/eps.h5
    wsss inspect results/demo/seed-0/cams/eps.h5 --number 12 --out cams.png
    wsss inspect results/demo/index.h5 --ids train_000003 train_000017 --out images.png

Weights (.safetensors) and training curves (.csv) are printed, and with --out their losses are drawn.
"""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open

from workflow_scripts.base.errors import UserError
from workflow_scripts.commands.command_line import command_parser
from workflow_scripts.data.beside import DataSet, asked_for, evenly_spread, find_data_set
from workflow_scripts.data.index import Index, read_index
from workflow_scripts.look import pictures
from workflow_scripts.look.plots import loss_curves, read_curve
from workflow_scripts.look.schemas import SCHEMAS, Array
from workflow_scripts.store.artifacts import Reader, schema_and_dataset, write
from workflow_scripts.store.provenance import check_bytes


def draw_artifact(reader: Reader, ids: Sequence[str], data: DataSet) -> pictures.Block:
    """A row for each image: the image, the truth where it is known, all that the artifact holds."""
    classes = reader.attributes["classes"]
    beside = data.truth if reader.schema != "truth" else None
    rows = []
    for identifier in ids:
        if identifier not in data.index.row:
            raise UserError(
                f"{data.index.path}: has no image {identifier!r} of {reader.path}; one of them is from another run"
            )
        image, names = data.images.read(identifier), [classes[label] for label in data.index.classes_of(identifier)]
        found: list[pictures.Cell | None] = [pictures.Cell(pictures.shown(image))] if reader.schema != "images" else []
        if beside and identifier in beside:
            found.append(pictures.label_cell(image, beside.read(identifier)["label"], classes))
        elif beside:
            found.append(None)
        arrays = reader.read(identifier)
        found += SCHEMAS[reader.schema].cells(arrays, image, classes)
        rows.append(pictures.Row([identifier, *names], found))
    columns = (["image"] if reader.schema != "images" else []) + (["truth"] if beside else [])
    return pictures.Block("", [*columns, SCHEMAS[reader.schema].title], rows)


def draw_index(ids: Sequence[str], data: DataSet) -> pictures.Block:
    """A row for each image: the image with its boxes, and the truth where it is known."""
    index, rows = data.index, []
    for identifier in ids:
        image, labels = data.images.read(identifier), index.classes_of(identifier)
        found: list[pictures.Cell | None] = [
            pictures.image_cell(image, labels, index.boxes_of(identifier), index.classes)
        ]
        if data.truth:
            label = data.truth.read(identifier)["label"] if identifier in data.truth else None
            found.append(pictures.label_cell(image, label, index.classes) if label is not None else None)
        splits = [name for name, members in index.splits.items() if index.row[identifier] in members]
        rows.append(pictures.Row([identifier, *(f"in {name}" for name in splits)], found))
    return pictures.Block("", ["image and boxes", *(["truth"] if data.truth else [])], rows)


def describe_artifact(reader: Reader, ids: Sequence[str]) -> Iterator[str]:
    """Lines: what it holds, and shape, type and range of the arrays of the images."""
    about = reader.attributes
    yield f"{reader.path}: {SCHEMAS[reader.schema].title} (schema {reader.schema!r})"
    yield f"data set {about['dataset']!r}, split {about['split']!r}, {len(reader.ids)} images"
    yield f"{len(about['classes'])} classes: {', '.join(about['classes'])}"
    kinds = SCHEMAS[reader.schema].arrays
    for identifier in ids:
        yield identifier
        for name, values in reader.read(identifier).items():
            shape = " x ".join(map(str, values.shape))
            yield f"    {name:<12} {values.dtype} {shape}{_range(kinds.get(name), values, about['classes'])}"


def describe_index(index: Index, ids: Sequence[str]) -> Iterator[str]:
    """Lines: splits, images of each class, and size, labels and boxes of the images."""
    yield f"{index.path}: index of data set {index.dataset!r}, {len(index.ids)} images, {len(index.boxes)} boxes"
    yield "splits: " + ", ".join(f"{name} {len(rows)}" for name, rows in index.splits.items())
    counts = zip(index.classes, index.labels.sum(axis=0, dtype=np.int64), strict=True)
    yield f"{len(index.classes)} classes (images): " + ", ".join(f"{name} {count}" for name, count in counts)
    for identifier in ids:
        height, width = index.size_of(identifier)
        names = ", ".join(index.classes[label] for label in index.classes_of(identifier)) or "no labels"
        yield f"{identifier}: {height} x {width} (H x W), {names}, {len(index.boxes_of(identifier))} boxes"


def describe_weights(path: Path) -> Iterator[str]:
    """Lines: name, type and shape of every layer, and the number of parameters."""
    try:
        with safe_open(path, framework="numpy") as file:
            layers = {name: file.get_slice(name) for name in file.keys()}
            shapes = {name: (layer.get_dtype(), tuple(layer.get_shape())) for name, layer in layers.items()}
    except (SafetensorError, OSError) as error:
        raise UserError(
            f"{path}: not readable weights ({str(error).splitlines()[0]}); delete the file and run again"
        ) from None
    total = sum(math.prod(shape) for _, shape in shapes.values())
    yield f"{path}: weights, {len(shapes)} layers, {total:,} numbers ({total / 1e6:.2f} million)"
    longest = max(map(len, shapes), default=0)
    for name, (kind, shape) in shapes.items():
        yield f"    {name:<{longest}}  {kind} {' x '.join(map(str, shape)) or 'one number'}"


def describe_curve(path: Path) -> Iterator[str]:
    """Lines: iterations, and first, last and least value of every column."""
    columns = read_curve(path)
    iterations = columns.pop("iteration")
    if not iterations:
        yield f"{path}: training curve without rows, as the network was not trained here"
        return
    yield f"{path}: training curve, {len(iterations)} rows up to iteration {iterations[-1]:.0f}"
    for name, values in columns.items():
        yield f"    {name}: first {values[0]:.4g}, last {values[-1]:.4g}, least {min(values):.4g}"


def _range(array: Array | None, values: np.ndarray, classes: Sequence[str]) -> str:
    if not values.size:
        return ", empty"
    if array and array.holds == "classes":
        return f": {', '.join(classes[int(value)] for value in values)}"
    if array and array.holds == "labels":
        return f": {', '.join(pictures.label_name(int(value), classes) for value in np.unique(values))}"
    return f", {values.min():.4g} to {values.max():.4g}"


def inspect(path: Path, ids: Sequence[str] | None, number: int, out: Path | None, results: Path | None) -> None:
    """Print what is in a file, or draw it into `out`."""
    if not path.is_file():
        raise UserError(f"{path}: no such file; run snakemake to make it")
    if path.suffix in {".safetensors", ".csv"}:
        weights = path.suffix == ".safetensors"
        curve = path.with_suffix(".curve.csv") if weights else path
        print("\n".join(describe_weights(path) if weights else describe_curve(path)))
        if out:
            if not curve.exists():
                raise UserError(
                    f"{curve}: no training curve beside the weights, so there is nothing to draw; leave --out away"
                )
            _write(out, loss_curves({curve.name.removesuffix(".curve.csv"): read_curve(curve)}))
        return
    if path.suffix != ".h5":
        raise UserError(f"{path}: expected an artifact (.h5), weights (.safetensors) or a training curve (.csv)")
    check_bytes(path)
    schema, dataset = schema_and_dataset(path)
    if schema == "index":
        index = read_index(str(path))
        shown = asked_for(index.ids, ids, path) if ids else evenly_spread(index.ids, number)
        if out is None:
            print("\n".join(describe_index(index, shown)))
            return
        data = find_data_set(path, dataset, results)
        block, classes = draw_index(shown, data), index.classes
    elif schema in SCHEMAS:
        reader = Reader(path, schema)
        shown = asked_for(reader.ids, ids, path) if ids else evenly_spread(reader.ids, number)
        if out is None:
            print("\n".join(describe_artifact(reader, shown)))
            return
        block, classes = (
            draw_artifact(reader, shown, find_data_set(path, dataset, results)),
            reader.attributes["classes"],
        )
    else:
        raise UserError(
            f"{path}: holds {schema or 'no known content'!r}, expected one of index, {', '.join(SCHEMAS)}; name another file"
        )
    _write(out, pictures.png(pictures.montage(str(path), [block], classes)))


def _write(out: Path, content: bytes) -> None:
    if out.suffix.lower() != ".png":
        raise UserError(f"{out}: pictures are written as PNG; give --out a name that ends in .png")
    write(out, content)
    print(f"wrote {out}")


def main(arguments: Sequence[str]) -> None:
    """The command line, after the name of the command."""
    parser = command_parser("inspect", __doc__)
    parser.add_argument("artifact", type=Path, help=".h5, .safetensors or .curve.csv")
    parser.add_argument("--ids", nargs="+", help="images to show")
    parser.add_argument(
        "--number", type=int, default=8, help="how many images, evenly spread, where no ids are given (8)"
    )
    parser.add_argument("--out", type=Path, help="PNG to draw into; without it, the content is printed")
    parser.add_argument("--results", type=Path, help="folder of the data sets' folders (found from the artifact)")
    given = parser.parse_args(arguments)
    if given.number < 1:
        raise UserError(f"--number: {given.number} images cannot be shown; give at least 1")
    inspect(given.artifact, given.ids, given.number, given.out, given.results)
