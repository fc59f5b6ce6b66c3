"""What the readers of annotation tools' files have in common: pictures with their objects, and what is told about them.

A reader is a module of this folder with `TITLE`, `found(source)`, which says why a source is of its format, or "", and
`read(source, told)`, which gives `Contents`. Nothing here knows the project's table.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from workflow_scripts.data.edges import Corners
from workflow_scripts.data.index_entries import Faults

MOST_SHOWN = 5  # names in a line


@dataclass(slots=True)
class Shape:
    """One object.

    Attributes:
        name: of its class.
        box: x0, y0, x1, y1, in the picture's unit; None where the source has none.
        outline: as a segmentation of COCO (polygons as lists x, y, x, y, ... or run lengths), in pixels; polygons in the
            picture's unit; None where the source has none.
        crowd: a region around many objects, which lies below all others.
        layer: what has a greater one lies above; of one layer, what comes later.
    """

    name: str
    box: Corners | None = None
    outline: Any = None
    crowd: bool = False
    layer: int = 0


@dataclass(slots=True)
class Picture:
    """One image of the source.

    Attributes:
        path: of the file.
        where: the file (and line or number) that its annotation comes from, for messages.
        labels: classes that are said of the image as a whole.
        split: as the source calls it; empty where it does not say.
        size: height and width in pixels that the annotation states, or None.
        mask: a truth mask that can stay as it is, 1 for the first class.
        drawing: reads a mask of the source, given height and width and whether the EXIF orientation is applied: uint8 (H, W), 0
            background, 255 ignored, else places in `drawn_names`, from 1.
        annotated: whether somebody has looked at it. If so, and there is no label, it shows none of the classes.
        decimals: coordinates are shares of the image's sides, with at most so many decimals; None where they are pixels.
        identifier: an id that the source gives.
    """

    path: Path
    where: str
    labels: tuple[str, ...] = ()
    shapes: list[Shape] = field(default_factory=list)
    split: str = ""
    size: tuple[int, int] | None = None
    mask: Path | None = None
    drawing: Callable[[tuple[int, int], bool], np.ndarray] | None = None
    drawn_names: Sequence[str] = ()
    annotated: bool = True
    decimals: int | None = None
    identifier: str = ""


@dataclass
class Contents:
    """What a reader found.

    Attributes:
        classes: names in the source's order, as far as it lists any.
        pictures: gives them one after another, each time that it is called.
        complete: whether the reader itself tells which images it leaves out.
    """

    classes: Sequence[str]
    pictures: Callable[["Told"], Iterator[Picture]]
    complete: bool = False


NOTES = {
    "unannotated": "left out, as the source has no annotation of it; `--unannotated negatives` takes such images as ones that show "
    "none of the classes",
    "moved": "the image lies in another folder than the annotation says, and was found by its name",
    "ending": "the image has another ending than the annotation says, and was found by its name",
    "loose": "left out, as it lies in no folder of a class",
    "two_folders": "the same file in the folders of several classes is taken as one image with all of them",
    "not_drawn": "objects that are points, lines, cuboids or skeletons give a label and no box",
    "rotated": "rotated boxes become the upright box around them; their pixels are those of the rotated one",
    "curved": "circles and ellipses are drawn as polygons of 72 corners",
    "several": "of several annotations of one image, the one marked as ground truth counts, else the first",
    "background_word": "stands for an image without any of the classes; name it in --classes if it is a class",
    "ignored_word": "its pixels are ignored (255); name it in --classes if it is a class",
    "background_region": "its pixels are background; name it in --classes if it is a class",
    "coarse": "coordinates have so few decimals that boxes are only exact to more than half a pixel",
    "nameless_values": "its masks are not read, as it is not known which class a value stands for; put a labelmap.txt beside the "
    "folder, or use a data set of kind voc with `mask_ids`",
    "overlap": "objects of two classes share pixels; the one above, or else the later one, is drawn",
    "no_mask": "no mask is made, as a label has neither box nor outline, so that its pixels are not known",
    "bare_box": "a box without an outline beside outlines: its pixels are ignored (255) in the mask",
    "other_file": "not read, as it holds no objects",
    "flags": "flags of files are not read as labels, as there are shapes",
    "unused": "is a class of the source that no image shows, and is left out; name it in --classes to keep it",
    "deselected": "is not among --classes: its labels and objects are left out",
    "column": "the column is not read",
    "separator": "separates the labels of a cell",
    "prediction": "predictions of a model are not read, only annotations",
    "case": "classes differ in capitals alone; merge them by --rename if they are one",
    "unnamed": "left out, as no annotation names it; `--unannotated negatives` takes such images as ones that show none of the classes",
    "crowd": "a region around many objects is one box, and lies below the others in the mask",
    "partly": "of the split, images with a label and without a mask are put into a split of their own, as a split is scored whole",
    "turned": "sizes are those of photographs as they are stored, so the data set has `orientation: stored`",
    "unlisted": "the split is named by no list or folder",
    "mask_values": "masks are taken as 0 background, 1 for the first class, 255 ignored; give --classes in the order of their values",
}


class Told(Faults):
    """Faults, which leave an image out; what is suspicious; and notes, by their kind, of what was taken in which way.

    `votes` counts photographs whose stated size speaks for the orientation "shown" or "stored".
    """

    def __init__(self) -> None:
        super().__init__()
        self.notes: dict[str, dict[str, None]] = {}
        self.votes: Counter[str] = Counter()

    def note(self, kind: str, name: str) -> None:
        """Note one thing.

        Args:
            kind: one of `NOTES`.
            name: of the image, class, file or column.
        """
        self.notes.setdefault(kind, {}).setdefault(name)

    def take(self, other: Faults) -> None:
        super().take(other)
        for kind, names in getattr(other, "notes", {}).items():
            for name in names:
                self.note(kind, name)
        self.votes += getattr(other, "votes", Counter())

    def rename(self, final: Mapping[str, str]) -> None:
        """Give images in what is suspicious their ids, instead of the names of their files."""
        self._findings = {
            one._replace(identifier=final.get(one.identifier, one.identifier)): None for one in self._findings
        }

    def lines(self) -> Iterator[str]:
        """A line for each kind of note."""
        for kind, names in self.notes.items():
            yield f"{listed([*names])}: {NOTES[kind]}"


def listed(names: Sequence[str]) -> str:
    """How many there are, and the first of them."""
    more = f" and {len(names) - MOST_SHOWN} more" if len(names) > MOST_SHOWN else ""
    return f"({len(names)}) {', '.join(names[:MOST_SHOWN])}{more}"
