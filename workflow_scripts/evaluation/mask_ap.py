"""Mask AP, the average precision of instance segmentation, by the code of COCO (Lin et al., ECCV 2014)."""

import contextlib
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

# Mean over the IoU thresholds 0.50, 0.55, ..., 0.95; at 0.50; at 0.75; of objects below 32^2, up to 96^2, and above that.
MEASURES = ("ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large")


@dataclass(frozen=True)
class Instance:
    """One instance of a class.

    Attributes:
        image: number of its image.
        encoded: its pixels, run-length encoded.
        area: pixels.
        score: of what was found, at least 0.
        crowd: of truth: a region of many objects, in which what is found counts neither as right nor as wrong.
    """

    image: int
    encoded: dict
    area: float
    score: float = 1.0
    crowd: bool = False


def average_precision(truth: Sequence[Instance], found: Sequence[Instance]) -> dict[str, float]:
    """The measures of one class, in [0, 1]; NaN where there is no such object.

    Those of several classes are the means over the classes that have the measure. Of one image at most the 100 surest
    count; among equal scores the order given decides.
    """
    if not truth:
        return dict.fromkeys(MEASURES, np.nan)
    with contextlib.redirect_stdout(io.StringIO()):  # it tells what it does
        evaluator = COCOeval(_collection(truth, found), _collection(found, truth), "segm")
        evaluator.evaluate()
        evaluator.accumulate()
        evaluator.summarize()
    return {
        name: np.nan if value < 0 else float(value) for name, value in zip(MEASURES, evaluator.stats[:6], strict=True)
    }


def _collection(instances: Sequence[Instance], others: Sequence[Instance]) -> COCO:
    """As COCO's code reads them; `others` have images that these may not be in."""
    collection = COCO()
    sizes = {item.image: item.encoded["size"] for item in (*instances, *others)}
    collection.dataset = {
        "images": [{"id": image, "height": size[0], "width": size[1]} for image, size in sorted(sizes.items())],
        "categories": [{"id": 1}],
        "annotations": [
            {
                "id": number,
                "image_id": item.image,
                "category_id": 1,
                "segmentation": item.encoded,
                "area": item.area,
                "iscrowd": int(item.crowd),
                "score": item.score,
            }
            for number, item in enumerate(instances, start=1)
        ],
    }
    collection.createIndex()
    return collection
