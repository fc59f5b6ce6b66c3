"""What is suspicious in a data set, but not impossible: every check by its name, what it means and what to do.

A reader notes what it finds by `Faults.suspect(check, identifier, detail)`; a further check is a further entry here.
"""

import csv
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from workflow_scripts.data.index_entries import Finding
from workflow_scripts.store.artifacts import replaced

MOST_SHOWN = 5  # identifiers in a line of the log


class Check(NamedTuple):
    """One kind of what is suspicious, in a plain sentence each."""

    meaning: str
    advice: str


CHECKS = {
    "orientation": Check(
        "The photograph has an EXIF orientation flag, which is applied unless the data set says `orientation: stored`.",
        "Nothing, if masks and boxes were drawn on the picture as it is shown here.",
    ),
    "box_clipped": Check(
        "A box reaches a little over the edge of its image and is cut off there.",
        "Look at the box; nothing, if it is as it should be.",
    ),
    "box_twice": Check(
        "Two boxes of one class in the image are the same, as where annotations were merged.",
        "Delete one of them, as its object counts twice.",
    ),
    "box_beside_outline": Check(
        "The box of an annotation shares less than half of its area with the box around the polygons of the annotation.",
        "Look at both, and correct the wrong one; a box of COCO is x, y, width and height in pixels.",
    ),
    "outline_clipped": Check(
        "An outline reaches a little over the edge of its image and is cut off there.",
        "Look at the outline; nothing, if it is as it should be.",
    ),
    "polygon_of_two_points": Check(
        "A polygon of an outline has fewer than three points, so that it has no pixels.",
        "Draw it again; nothing, if the other polygons of its object are all there is.",
    ),
    "tiny_image": Check(
        "The image is less than 8 pixels wide or high, which is less than one cell of a network's feature map.",
        "Take it off the list, unless it is meant to be so small.",
    ),
    "few_pixels": Check(
        "An object, or a class in a mask, has fewer than 16 pixels.",
        "Nothing, if objects are so small; often it is a slip of the mouse.",
    ),
    "copy": Check(
        "The same picture is there under two ids.",
        "Keep one of them, as it counts twice.",
    ),
    "copy_across_splits": Check(
        "The same picture is in two splits under two ids: what is trained on may be scored.",
        "Take it out of one of the splits.",
    ),
    "trained_and_scored": Check(
        "The image is in the split that is trained on and in one that predictions are scored on.",
        "Nothing, if only masks count; else name a split of other images under use.evaluation.",
    ),
    "class_everywhere": Check(
        "Every image of the split shows the class, so that a classifier cannot learn what it looks like.",
        "Add images without the class.",
    ),
    "class_without_image": Check(
        "No image of the split shows the class, so that it is not learnt, or not scored.",
        "Add images of the class, or take it off the classes.",
    ),
    "label_without_pixel": Check(
        "The image is labelled with a class of which its mask has no pixel.",
        "Draw it in the mask, or take it off the labels.",
    ),
    "pixels_without_label": Check(
        "The mask has pixels of a class that the image is not labelled with.",
        "Add the class to the labels, or correct the mask.",
    ),
    "ignored_column": Check(
        "The table has a column that nothing reads.",
        "Nothing, if it holds remarks; rename it, if it should be read.",
    ),
    "no_object": Check(
        "The annotation has no object, so that the image counts as one that shows none of the classes.",
        "Nothing, if that is so; annotate its objects, or take the id off the lists, if it was never looked at.",
    ),
    "left_out": Check(
        "The file of COCO has no annotation of the image, so that it is left out of its split.",
        "Nothing, if it was never looked at; set `unannotated: negatives` in the data set, if it shows none of the classes.",
    ),
    "size_missing": Check(
        "The annotation does not state the size of its image, so that it cannot be compared with the file.",
        "Nothing, if the annotations belong to these files.",
    ),
}


def by_check(findings: Iterable[Finding]) -> dict[str, dict[str, list[str]]]:
    """The details of each id, by check; in the order in which they were found."""
    found: dict[str, dict[str, list[str]]] = {}
    for check, identifier, detail in findings:
        found.setdefault(check, {}).setdefault(identifier, []).extend([detail] * bool(detail))
    return found


def first_ids(found: dict[str, list[str]]) -> str:
    """The first ids with their details, and how many more there are."""
    shown = [
        f"{identifier} ({', '.join(details)})" if details else identifier
        for identifier, details in list(found.items())[:MOST_SHOWN]
    ]
    more = f" and {len(found) - MOST_SHOWN} more" if len(found) > MOST_SHOWN else ""
    return f"{', '.join(shown)}{more}"


def summary(findings: Iterable[Finding]) -> Iterator[str]:
    """A line for each check that found something: how many ids, the first of them, what it means and what to do."""
    for name, found in by_check(findings).items():
        yield told(name, len(found), first_ids(found))


def told(name: str, count: int | str, first: str) -> str:
    """The line of one check, of which `count` ids were found."""
    check = CHECKS[name]
    return f"suspicious: {name} ({count}): {first}. {check.meaning} What to do: {check.advice}"


def write_findings(path: str, findings: Iterable[Finding]) -> None:
    """Write all findings as CSV, a line each."""
    with replaced(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(Finding._fields)
        writer.writerows(findings)


def read_findings(path: str) -> list[Finding]:
    """What `write_findings` has written."""
    with open(path, newline="", encoding="utf-8") as file:
        _, *rows = csv.reader(file)
    return [Finding(*row) for row in rows]
