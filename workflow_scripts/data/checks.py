"""What is suspicious in a data set, but not impossible: every check by its name, what it means and what to do.

A reader notes what it finds by `Faults.suspect(check, identifier, detail)`; a further check is a further entry here.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

MOST_SHOWN = 5  # identifiers in a line of the log


class Check(NamedTuple):
    """One kind of what is suspicious, in a plain sentence each."""

    meaning: str
    advice: str


class Finding(NamedTuple):
    """One thing that is suspicious: the check, the id of the image, class or column, and what exactly."""

    check: str
    identifier: str
    detail: str = ""


CHECKS = {
    "orientation": Check(
        "The photograph has an EXIF orientation flag, which is applied unless the data set says `orientation: stored`.",
        "Nothing, if masks and boxes were drawn on the picture as it is shown here.",
    ),
    "box_clipped": Check(
        "A box reaches a little over the edge of its image and is cut off there.",
        "Look at the box; nothing, if it is as it should be.",
    ),
    "outline_clipped": Check(
        "An outline reaches a little over the edge of its image and is cut off there.",
        "Look at the outline; nothing, if it is as it should be.",
    ),
    "polygon_of_two_points": Check(
        "A polygon of an outline has fewer than three points, so that it has no pixels.",
        "Draw it again; nothing, if the other polygons of its object are all there is.",
    ),
    "one_pixel_side": Check(
        "The image is a few pixels wide or high, too small for a network to see anything.",
        "Take it off the list, unless it is meant to be so small.",
    ),
    "ignored_column": Check(
        "The table has a column that nothing reads.",
        "Nothing, if it holds remarks; rename it, if it should be read.",
    ),
    "no_object": Check(
        "The annotation has no object, so that the image counts as one that shows none of the classes.",
        "Nothing, if that is so; annotate its objects, or take the id off the lists, if it was never looked at.",
    ),
    "size_missing": Check(
        "The annotation does not state the size of its image, so that it cannot be compared with the file.",
        "Nothing, if the annotations belong to these files.",
    ),
}


def summary(findings: Iterable[Finding]) -> Iterator[str]:
    """A line for each check that found something: how many ids, the first of them, what it means and what to do."""
    by_check: dict[str, dict[str, list[str]]] = {}
    for check, identifier, detail in findings:
        by_check.setdefault(check, {}).setdefault(identifier, []).extend([detail] * bool(detail))
    for name, found in by_check.items():
        shown = [
            f"{identifier} ({', '.join(details)})" if details else identifier
            for identifier, details in list(found.items())[:MOST_SHOWN]
        ]
        more = f" and {len(found) - MOST_SHOWN} more" if len(found) > MOST_SHOWN else ""
        check = CHECKS[name]
        yield f"suspicious: {name} ({len(found)}): {', '.join(shown)}{more}. {check.meaning} What to do: {check.advice}"
