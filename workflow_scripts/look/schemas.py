"""What every schema holds of an image: its arrays, what they must be, and how they are drawn.

A new schema is one entry of `SCHEMAS`. Sides of arrays are numbers or letters: H, W of the image; h, w of a map stored at
the `resolution` of the block that made it; C classes, L classes and background. What any other letter stands for, the
first array with it says, and the next ones must agree.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import inf
from typing import Any

import numpy as np

from workflow_scripts.data.boxes import by_area
from workflow_scripts.data.instances import UNRELIABLE, Instances
from workflow_scripts.data.maps import stored_size, upsampled
from workflow_scripts.look import pictures
from workflow_scripts.look.gallery import tiles
from workflow_scripts.look.pictures import VOID, Cell, heat_map, label_cell, overlay

Arrays = Mapping[str, np.ndarray]  # of one image, as `artifacts.Reader.read` gives them
SURE = 0.5  # score from which an instance is drawn
SUM = 0.02  # by which probabilities stored as float16 may miss 1


class Wrong(Exception):
    """What is wrong with one image."""


@dataclass(frozen=True)
class Array:
    """One array of an image.

    Attributes:
        shape: its sides, as the module's text says.
        low, high: of its values.
        holds: "labels" of a label map, which are 0, class + 1 or 255, or 0-based "classes".
    """

    dtype: str
    shape: str
    low: float = -inf
    high: float = inf
    holds: str = "values"
    optional: bool = False


@dataclass(frozen=True)
class About:
    """What is known of an image before its arrays are read; without an index, of rendered images, its size is free."""

    size: tuple[int | None, int | None]
    labels: np.ndarray | None
    classes: int
    settings: Mapping


@dataclass(frozen=True)
class Schema:
    """What an artifact holds of each image.

    Attributes:
        title: what `inspect` and montages call it.
        arrays: by name.
        cells: pictures of all that it holds: of the arrays, the image uint8 (H, W, 3) and the names of the classes.
        check: what its arrays must be beside; raises `Wrong`.
        montage: one picture of all, where that is not the first of `cells`.
        soft: the maps that the gallery shows, as `tiles.Cell` has them; of the arrays and the picture's size.
        label_map: whether `maps.label_map` makes one of it, and if it needs a threshold.
    """

    title: str
    arrays: Mapping[str, Array]
    cells: Callable[[Arrays, np.ndarray, Sequence[str]], list[Cell]]
    check: Callable[[Arrays, About], None] = lambda arrays, about: None
    montage: Callable[[Arrays, np.ndarray, Sequence[str]], Cell] | None = None
    soft: Callable[[Arrays, tuple[int, int]], list] = lambda arrays, size: []
    label_map: bool = False
    threshold: bool = False

    def cell(self, arrays: Arrays, image: np.ndarray, classes: Sequence[str]) -> Cell:
        """One picture for a montage, without a caption."""
        if self.montage:
            return self.montage(arrays, image, classes)
        first = self.cells(arrays, image, classes)[0]
        return Cell(first.picture, labels=first.labels)

    def check_image(self, arrays: Arrays, about: About) -> None:
        """Raises `Wrong` if these cannot be the arrays of the image."""
        sides = dict(zip("HW", about.size, strict=True)) | {"C": about.classes, "L": about.classes + 1}
        height, width = about.size
        resolution = about.settings.get("block", {}).get("resolution")  # of soft maps; what a CRF has decided has none
        if height and width and resolution and any("h w" in array.shape for array in self.arrays.values()):
            sides |= zip("hw", stored_size(height, width, resolution), strict=True)
        for name, array in self.arrays.items():
            if name in arrays:
                _check_array(name, arrays[name], array, sides)
            elif not array.optional:
                raise Wrong(f"has no {name!r}")
        if more := arrays.keys() - self.arrays.keys():
            raise Wrong(f"holds {', '.join(map(repr, sorted(more)))}, which nobody reads")
        self.check(arrays, about)


def _check_array(name: str, values: np.ndarray, array: Array, sides: dict[str, Any]) -> None:
    wanted = [int(side) if side.isdigit() else sides.get(side) for side in array.shape.split()]
    if len(wanted) != values.ndim or any(
        side not in (None, found) for side, found in zip(wanted, values.shape, strict=True)
    ):
        shown = " x ".join("any" if side is None else str(side) for side in wanted)
        raise Wrong(f"{name!r} is {' x '.join(map(str, values.shape))}, expected {shown}")
    sides |= zip(array.shape.split(), values.shape, strict=True)
    if values.dtype != array.dtype:
        raise Wrong(f"{name!r} is {values.dtype}, expected {array.dtype}")
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise Wrong(f"{name!r} has values that are not finite")
    classes = sides["C"]
    if array.holds == "labels":
        unknown = values[(values > classes) & (values != VOID)]
        if unknown.size:
            raise Wrong(f"{name!r} has the value {unknown[0]}, which is none of {classes} classes, 0 or {VOID}")
    low, high = (0, classes - 1) if array.holds == "classes" else (array.low, array.high)
    if values.size and not low <= values.min() <= values.max() <= high:
        raise Wrong(f"{name!r} has values from {values.min():g} to {values.max():g}, expected {low:g} to {high:g}")


# --- saliency and class activation maps -------------------------------------------------------------------------------


def _saliency_cells(arrays: Arrays, image: np.ndarray, classes: Sequence[str]) -> list[Cell]:
    saliency = arrays["saliency"]
    caption = f"{saliency.min()} to {saliency.max()}, mean {saliency.mean():.0f}"
    return [Cell(heat_map(image, saliency / 255), caption)]


def _cam_cells(arrays: Arrays, image: np.ndarray, classes: Sequence[str]) -> list[Cell]:
    maps = [(classes[index], scores) for index, scores in zip(arrays["classes"], arrays["scores"], strict=True)]
    if "background" in arrays:
        maps.append(("learnt background", arrays["background"]))
    return [
        Cell(heat_map(image, pictures.divided_by_peak(m[None])[0]), f"{name} {m.min():.2f} to {m.max():.2f}")
        for name, m in maps
    ]


def _all_cams(arrays: Arrays, image: np.ndarray, classes: Sequence[str]) -> Cell:
    """The maps of all classes together, each in its colour."""
    labels = frozenset((arrays["classes"] + 1).tolist())
    return Cell(pictures.class_map(image, arrays["scores"], arrays["classes"]), labels=labels)


def _soft_cams(arrays: Arrays, size: tuple[int, int]) -> list:
    named = [*zip((arrays["classes"] + 1).tolist(), arrays["scores"], strict=True)]
    named += [(0, arrays["background"])] if "background" in arrays else []
    return [(label, *tiles.quantised(scores)) for label, scores in named]


def _check_cam(arrays: Arrays, about: About) -> None:
    if about.labels is not None and not np.array_equal(arrays["classes"], about.labels):
        raise Wrong("its classes are not those of the index")


# --- label maps and predictions ---------------------------------------------------------------------------------------


def _label_cells(arrays: Arrays, image: np.ndarray, classes: Sequence[str]) -> list[Cell]:
    return [label_cell(image, arrays[name], classes) for name in ("label", "label_retrieved") if name in arrays]


def _truth_cells(arrays: Arrays, image: np.ndarray, classes: Sequence[str]) -> list[Cell]:
    found = _label_cells(arrays, image, classes)
    for name in ("instance", "context"):
        if name in arrays:
            values = np.setdiff1d(arrays[name], [0, VOID])
            found.append(Cell(overlay(image, arrays[name]), f"{name}: {', '.join(map(str, values)) or 'none'}"))
    return found


def _affinity_cells(arrays: Arrays, image: np.ndarray, classes: Sequence[str]) -> list[Cell]:
    """Of the image's size, or of its feature cells."""
    height, width = image.shape[:2]
    label = arrays["label"]
    cell = next(s for s in (1, 2, 4, 8, 16, 32) if stored_size(height, width, s) == label.shape)
    return [label_cell(image, label.repeat(cell, axis=0).repeat(cell, axis=1)[:height, :width], classes)]


def _check_affinity(arrays: Arrays, about: About) -> None:
    shape = arrays["label"].shape
    if any(side is not None and found > side for found, side in zip(shape, about.size, strict=True)):
        raise Wrong("'label' is larger than its image")


def _prediction_cells(arrays: Arrays, image: np.ndarray, classes: Sequence[str]) -> list[Cell]:
    if "label" in arrays:
        return _label_cells(arrays, image, classes)
    scores = upsampled(arrays["scores"], *image.shape[:2])
    confidence = scores.max(axis=0)
    likely = label_cell(image, scores.argmax(axis=0).astype(np.uint8), classes)
    return [likely, Cell(heat_map(image, confidence), f"confidence {confidence.min():.2f} to {confidence.max():.2f}")]


def _check_prediction(arrays: Arrays, about: About) -> None:
    if len(arrays) != 1:
        raise Wrong("holds not one of 'scores' and 'label'")
    if "scores" in arrays and not np.allclose(arrays["scores"].sum(axis=0, dtype=np.float32), 1, atol=SUM):
        raise Wrong("'scores' are no probabilities, as their sums are not 1")


# --- rendered images and instances ------------------------------------------------------------------------------------


def _image_cells(arrays: Arrays, image: np.ndarray, classes: Sequence[str]) -> list[Cell]:
    boxes = arrays.get("boxes", np.zeros((0, 5))).reshape(-1, 5)
    return [pictures.image_cell(image, arrays.get("labels", ()), boxes, classes)]


def _instance_cells(arrays: Arrays, image: np.ndarray, classes: Sequence[str]) -> list[Cell]:
    """Masks over their image, each in a colour of its own with its box, the smaller in front, unreliable pixels in cream.

    Found ones below `SURE` are not drawn, but counted.
    """
    instances, size = Instances.from_arrays(arrays), image.shape[:2]
    sure = np.ones(len(instances), bool) if instances.scores is None else instances.scores >= SURE
    label, drawn = np.zeros(size, np.uint8), [row for row in by_area(instances.boxes) if sure[row]]
    colours = [1 + row % (UNRELIABLE - 1) for row in drawn]  # black and cream are none
    for row, colour in zip(drawn, colours, strict=True):
        mask = instances.mask(row, *size)
        label[(mask == UNRELIABLE) & (label == 0)] = UNRELIABLE
        label[mask == 1] = colour
    picture = pictures.draw_boxes(overlay(image, label), instances.boxes[drawn], size, colours)
    names = [classes[int(number)] for number in instances.boxes[sure, 4]]
    more = f" and {len(instances) - len(names)} less sure" if len(names) < len(instances) else ""
    return [Cell(picture, (", ".join(names) or "no instance") + more)]


def _check_boxes(arrays: Arrays, about: About) -> None:
    if not np.isin(arrays["boxes"][:, 4], np.arange(about.classes)).all():
        raise Wrong(f"'boxes' have a class that is none of {about.classes} classes")


def _check_instances(arrays: Arrays, about: About) -> None:
    _check_boxes(arrays, about)
    windows, (height, width) = arrays["windows"], about.size
    outside = (windows[:, 0] > windows[:, 1]) | (windows[:, 2] > windows[:, 3])
    if (outside | (windows[:, 1] > height) | (windows[:, 3] > width)).any():
        raise Wrong("'windows' lie outside the image")
    area = int((windows[:, 1::2] - windows[:, ::2]).prod(axis=1, dtype=np.int64).sum())
    if len(arrays["pixels"]) != area:
        raise Wrong(f"'pixels' is {len(arrays['pixels'])}, expected {area}")
    if not np.isin(arrays["pixels"], (0, 1, UNRELIABLE)).all():
        raise Wrong(f"'pixels' has values other than 0, 1 and {UNRELIABLE}")


LABEL = Array("uint8", "H W", holds="labels")
SCHEMAS: dict[str, Schema] = {
    "images": Schema(  # rendered ones, RGB
        "rendered images",
        {
            "image": Array("uint8", "rows columns 3"),
            "boxes": Array("float32", "M 5"),  # x0, y0, x1, y1 in pixels, 0-based class
            "labels": Array("int64", "K", holds="classes"),
        },
        _image_cells,
        _check_boxes,
    ),
    "saliency": Schema(
        "saliency maps",
        {"saliency": Array("uint8", "H W")},
        _saliency_cells,
        soft=lambda arrays, size: [(None, 1.0, tiles.resized(arrays["saliency"], size))],
    ),
    "cam": Schema(
        "class activation maps",
        {
            "classes": Array("int16", "K", holds="classes"),  # of the image's labels
            "scores": Array("float16", "K h w", 0),  # mean activation over the test passes, not normalised
            "background": Array("float16", "h w", optional=True),  # where the method learns one
        },
        _cam_cells,
        _check_cam,
        montage=_all_cams,
        soft=_soft_cams,
        label_map=True,
        threshold=True,
    ),
    "affinity_labels": Schema(  # a value a feature cell; 255 unknown
        "labels for an affinity network",
        {"label": Array("uint8", "rows columns", holds="labels")},
        _affinity_cells,
        _check_affinity,
    ),
    "mask": Schema(
        "pseudo masks",
        # The second label map where the rule makes two.
        {"label": LABEL, "label_retrieved": Array("uint8", "H W", holds="labels", optional=True)},
        _label_cells,
        label_map=True,
    ),
    "truth": Schema(
        "truth masks",
        {  # numbers of instances, and of what an object stands in, where the data set has them
            "label": LABEL,
            "instance": Array("uint8", "H W", optional=True),
            "context": Array("uint8", "H W", optional=True),
        },
        _truth_cells,
        label_map=True,
    ),
    "prediction": Schema(
        "predictions",
        {  # softmax probabilities, background first; or the decision of a CRF
            "scores": Array("float16", "L h w", 0, 1, optional=True),
            "label": Array("uint8", "H W", holds="labels", optional=True),
        },
        _prediction_cells,
        _check_prediction,
        label_map=True,
    ),
    "instances": Schema(
        "instances",
        {
            "boxes": Array("float32", "M 5"),  # x0, y0, x1, y1 in pixels, 0-based class
            "windows": Array("int32", "M 4", 0),  # the part of the image that a mask is stored for: rows and columns
            "pixels": Array("uint8", "P"),  # these parts one after another: 0, 1 object, 255 unreliable
            "scores": Array("float32", "M", 0, 1, optional=True),  # where a network found them
            "crowd": Array("uint8", "M", 0, 1, optional=True),  # of truth, where the data set has it
            "areas": Array("float32", "M", 0, optional=True),
        },
        _instance_cells,
        _check_instances,
    ),
}
