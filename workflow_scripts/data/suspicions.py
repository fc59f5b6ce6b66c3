"""What is suspicious in a whole data set: in its list of images, and in its masks beside the labels. Nothing is read here."""

import json
from collections.abc import Mapping, Sequence

import numpy as np

from workflow_scripts.data.index_entries import Entry, Faults
from workflow_scripts.data.readers.images import VOID

FEW_PIXELS = 16  # 4 x 4, less than one cell of any network's feature map
SHORT_SIDE = 8  # pixels, one cell of the finest feature map
MOST_COPIES = 3  # named of one picture
MOST_SHOWN = 5  # ids in a message


def suspect_entries(
    entries: Sequence[Entry], splits: Mapping[str, Sequence[str]], classes: Sequence[str], faults: Faults
) -> None:
    """Note tiny images and objects, copies, and classes that all images of a split show, or none.

    Args:
        splits: ids of the labelled splits that the source lists; parts of them say nothing new.
    """
    for entry in entries:
        if min(entry.height, entry.width) < SHORT_SIDE:
            faults.suspect("tiny_image", entry.id, f"{entry.width} x {entry.height}")
        for x0, y0, x1, y1, label in entry.boxes:
            if (x1 - x0) * (y1 - y0) < FEW_PIXELS:
                faults.suspect("few_pixels", entry.id, f"a box of {classes[int(label)]}, {x1 - x0:g} x {y1 - y0:g}")
    _suspect_copies(entries, splits, faults)
    labels = {entry.id: entry.labels for entry in entries}
    for split, ids in splits.items():
        counts = np.zeros(len(classes), np.int64)
        for identifier in ids:
            counts[list(labels[identifier])] += 1
        for name, count in zip(classes, counts, strict=True):
            if not count:
                faults.suspect("class_without_image", name, f"in none of {len(ids)} images of {split}")
            elif count == len(ids) > 1:
                faults.suspect("class_everywhere", name, f"in every one of {count} images of {split}")


def _suspect_copies(entries: Sequence[Entry], splits: Mapping[str, Sequence[str]], faults: Faults) -> None:
    same: dict[str, list[str]] = {}
    for entry in entries:
        same.setdefault(entry.pixels or entry.digest, []).append(entry.id)
    groups = [ids for ids in same.values() if len(ids) > 1]
    copied = {identifier for ids in groups for identifier in ids}
    places: dict[str, list[str]] = {identifier: [] for identifier in copied}
    for split, ids in splits.items():
        for identifier in copied.intersection(ids):
            places[identifier].append(split)
    for ids in groups:
        check = "copy" if len({tuple(places[identifier]) for identifier in ids}) == 1 else "copy_across_splits"
        for identifier in ids:
            others = [other for other in ids if other != identifier]
            more = f" and {len(others) - MOST_COPIES} more" if len(others) > MOST_COPIES else ""
            where = f", in {' and '.join(places[identifier])}" if places[identifier] else ""
            faults.suspect(check, identifier, f"as {', '.join(others[:MOST_COPIES])}{more}{where}")


class MaskChecks:
    """Compares masks with the labels of their images, one after another.

    A mask contradicts the labels if it has a class that is not labelled, or none of those that are. Where more than half
    of the masks do, their values mean something else, and that is a fault; where fewer do, they are suspicious. A mask without
    a pixel of any class, of an image without labels, says nothing about the values, and does not count.
    """

    def __init__(self, classes: Sequence[str], faults: Faults):
        self.classes, self.faults = classes, faults
        self._masks, self._contradicting, self._only_void = 0, list[str](), list[str]()

    def add(self, identifier: str, label: np.ndarray, labelled: Sequence[int] | np.ndarray) -> None:
        """Compare one mask.

        Args:
            label: uint8 (H, W), 0 background, 1..C classes, 255 ignored.
            labelled: 0-based classes of the image.
        """
        counts = np.bincount(label.ravel(), minlength=256)
        shown = set(np.flatnonzero(counts[1:VOID]).tolist())
        missing, others = [c for c in labelled if c not in shown], sorted(shown.difference(labelled))
        only_void = not shown and counts[VOID] > 0
        for number in missing:
            white = ", the mask has 255 alone, which is ignored" if only_void else ""
            self.faults.suspect("label_without_pixel", identifier, f"{self.classes[number]}{white}")
        for number in others:
            self.faults.suspect("pixels_without_label", identifier, self.classes[number])
        for number in sorted(shown):
            if counts[number + 1] < FEW_PIXELS:
                self.faults.suspect(
                    "few_pixels", identifier, f"{self.classes[number]} in the mask, {counts[number + 1]}"
                )
        self._masks += bool(shown) or len(labelled) > 0
        if others or missing and not shown:
            self._contradicting.append(identifier)
            self._only_void += [identifier] * bool(only_void)

    def end(self, dataset: str) -> None:
        """Note a fault where most of the masks contradict the labels."""
        wrong, void = self._contradicting, self._only_void
        if 2 * len(wrong) <= self._masks:
            return
        if 2 * len(void) > len(wrong):
            names = ", ".join(f"{number} for {name}" for number, name in enumerate(self.classes[:MOST_SHOWN], start=1))
            white = f", or set `mask_ids: {json.dumps({self.classes[0]: VOID})}` in the data set"
            white = white if len(self.classes) == 1 else ""
            self.faults.add(
                f"truth of {dataset!r}: {len(void)} of {self._masks} masks have 0 (background) and 255 alone, {_first(void)}, but "
                f"255 is void: pixels that are ignored; write the values of the classes instead, in their order ({names}){white}"
            )
            return
        self.faults.add(
            f"truth of {dataset!r}: {len(wrong)} of {self._masks} masks contradict the labels of their images (a class that is not "
            f"labelled, or none of those that are), {_first(wrong)}; put `classes` in the order of "
            "the masks' values or give these by `mask_ids`, or correct the labels"
        )


def _first(ids: Sequence[str]) -> str:
    more = f" and {len(ids) - MOST_SHOWN} more" if len(ids) > MOST_SHOWN else ""
    return f"{', '.join(ids[:MOST_SHOWN])}{more}"
