"""Where each stage writes. The name of an artifact is the name of its block."""

import re
from collections.abc import Iterable
from functools import cache

OUTPUTS: dict[str, dict[str, str]] = {
    "render": {"images": "results/{dataset}/rendered/images.h5", "truth": "results/{dataset}/rendered/truth.h5"},
    "index": {"index": "results/{dataset}/index.h5", "findings": "results/{dataset}/checks/index.csv"},
    "truth": {"truth": "results/{dataset}/truth.h5", "findings": "results/{dataset}/checks/truth.csv"},
    "checks": {"checks": "results/{dataset}/checks.csv", "picture": "results/{dataset}/checks.png"},
    "weights": {"weights": "data/weights/{file}"},
    "archives": {"archive": "data/archives/{archive}"},
    "unpack": {"manifest": "data/unpacked/{archive}.json"},
    "train_saliency": {
        "weights": "results/{dataset}/saliency/{saliency}.safetensors",
        "curve": "results/{dataset}/saliency/{saliency}.curve.csv",
    },
    "saliency": {"saliency": "results/{dataset}/saliency/{saliency}.h5"},
    "train_classifier": {
        "weights": "results/{dataset}/seed-{seed}/classifiers/{classifier}.safetensors",
        "curve": "results/{dataset}/seed-{seed}/classifiers/{classifier}.curve.csv",
    },
    "classification": {"scores": "results/{dataset}/seed-{seed}/scores/classifiers/{classifier}.json"},
    "cams": {"cams": "results/{dataset}/seed-{seed}/cams/{cam}.h5"},
    "thresholds": {"thresholds": "results/{dataset}/seed-{seed}/thresholds/{cam}.json"},
    "affinity_labels": {"labels": "results/{dataset}/seed-{seed}/affinities/{affinity}.labels.h5"},
    "train_affinity": {
        "weights": "results/{dataset}/seed-{seed}/affinities/{affinity}.safetensors",
        "curve": "results/{dataset}/seed-{seed}/affinities/{affinity}.curve.csv",
    },
    "masks": {"masks": "results/{dataset}/seed-{seed}/masks/{mask}.h5"},
    "train_segmenter": {
        "weights": "results/{dataset}/seed-{seed}/segmenters/{mask}/{segmenter}.safetensors",
        "curve": "results/{dataset}/seed-{seed}/segmenters/{mask}/{segmenter}.curve.csv",
    },
    "predictions": {"predictions": "results/{dataset}/seed-{seed}/predictions/{mask}/{segmenter}/{prediction}.h5"},
    "submission": {"submission": "results/{dataset}/seed-{seed}/submission/{mask}/{segmenter}/{prediction}.tar.gz"},
    "score_saliency": {"scores": "results/{dataset}/scores/saliency/{saliency}.json"},
    "score_cams": {"scores": "results/{dataset}/seed-{seed}/scores/cams/{cam}.json"},
    "score_masks": {"scores": "results/{dataset}/seed-{seed}/scores/masks/{mask}.json"},
    "score_predictions": {
        "scores": "results/{dataset}/seed-{seed}/scores/predictions/{mask}/{segmenter}/{prediction}.json"
    },
    "miou": {
        "miou": "results/{dataset}/miou.csv",
        "groups": "results/{dataset}/miou_by_group.csv",
        "inputs": "results/{dataset}/inputs.csv",
    },
    "filling_rates": {
        "violins": "results/{dataset}/pictures/filling_rates.png",
        "rates": "results/{dataset}/filling_rates.csv",
    },
    "montage": {"montage": "results/{dataset}/pictures/{system}.png"},
    "estimated_saliency": {"saliency": "results/{dataset}/seed-{seed}/saliency/{cam}.h5"},
    "score_estimated_saliency": {"scores": "results/{dataset}/seed-{seed}/scores/saliency/{cam}.json"},
    "saliency_table": {"saliency": "results/{dataset}/saliency.csv"},
    "montage_saliency": {"montage": "results/{dataset}/pictures/saliency/{cam}.png"},
    "erasing": {"picture": "results/{dataset}/pictures/erasing/{classifier}.png"},
    "tune": {"table": "results/{dataset}/tune/{tuning}.csv", "picture": "results/{dataset}/tune/{tuning}.png"},
    "gallery": {
        "page": "results/{dataset}/gallery/index.html",
        "listing": "results/{dataset}/gallery/files.sha256",  # of FOLDERS
    },
    "cost": {"cost": "results/{dataset}/cost.csv"},
    "confidence": {"picture": "results/{dataset}/pictures/confidence/{system}.png"},
    "instance_truth": {"truth": "results/{dataset}/instance_truth.h5"},
    "instances": {"instances": "results/{dataset}/seed-{seed}/instances/{instances}.h5"},
    "coco_json": {"annotations": "results/{dataset}/seed-{seed}/coco/{instances}.json"},
    "precision_instances": {"scores": "results/{dataset}/seed-{seed}/scores/instances/{instances}.json"},
    "train_instances": {
        "weights": "results/{dataset}/seed-{seed}/instance_networks/{instances}/{network}.safetensors",
        "curve": "results/{dataset}/seed-{seed}/instance_networks/{instances}/{network}.curve.csv",
    },
    "detections": {"detections": "results/{dataset}/seed-{seed}/detections/{instances}/{network}.h5"},
    "precision_detections": {"scores": "results/{dataset}/seed-{seed}/scores/detections/{instances}/{network}.json"},
    "mask_ap": {"mask_ap": "results/{dataset}/mask_ap.csv"},
    "cost_system": {"cost": "results/{dataset}/cost/{system}.csv"},
    "boundaries": {"scores": "results/{dataset}/seed-{seed}/scores/boundaries/{mask}.json"},
    "boundary_table": {"table": "results/{dataset}/boundaries.csv"},
    "confusion_ratios": {"scores": "results/{dataset}/seed-{seed}/scores/confusion_ratios/{mask}.json"},
    "confusion_table": {"table": "results/{dataset}/confusion_ratios.csv"},
    "table": {"table": "results/{dataset}/tables/{table}.csv", "text": "results/{dataset}/tables/{table}.md"},
    "tables": {"text": "results/{dataset}/tables/all.md"},
    "charts": {"classes": "results/{dataset}/pictures/classes.png", "stages": "results/{dataset}/pictures/stages.png"},
    "curves": {"curves": "results/{dataset}/pictures/curves.png", "sweep": "results/{dataset}/pictures/thresholds.png"},
}

# The section of the block that a stage is of, and the wildcard that names it.
BLOCKS = {
    "saliency": ("saliency", "saliency"),
    "train_saliency": ("saliency", "saliency"),
    "train_classifier": ("classifiers", "classifier"),
    "cams": ("cams", "cam"),
    "affinity_labels": ("affinities", "affinity"),
    "train_affinity": ("affinities", "affinity"),
    "masks": ("masks", "mask"),
    "train_segmenter": ("segmenters", "segmenter"),
    "predictions": ("predictions", "prediction"),
    "instances": ("instances", "instances"),
    "train_instances": ("instance_networks", "network"),
    "detections": ("instance_networks", "network"),
}
# Stages whose artifacts pictures show, in their order, and the schemas of these.
SHOWN = {"saliency": "saliency", "cams": "cam", "masks": "mask", "predictions": "prediction"}
# A folder that a stage fills beside its files, one of which lists what is in it.
FOLDERS = {"gallery": "results/{dataset}/gallery/files"}


def output_path(stage: str, /, output: str | None = None, **names: str) -> str:
    """Where a stage writes its first output, or the one that is named."""
    patterns = OUTPUTS[stage]
    return patterns[output or next(iter(patterns))].format(**names)


def of_seeds(stage: str, seeds: Iterable[int], **names: str) -> list[str]:
    """Where a stage writes its first output, for each seed."""
    return [output_path(stage, **names, seed=str(seed)) for seed in seeds]


def maker(path: str) -> tuple[str, dict[str, str]] | None:
    """The stage that writes a file, and its wildcards; None for what no stage writes."""
    for stage, pattern in _patterns():
        if match := pattern.fullmatch(path):
            return stage, match.groupdict()
    return None


@cache
def _patterns() -> list[tuple[str, re.Pattern]]:
    """Those with the fewest wildcards first: curves.png is no system's picture."""
    patterns = [(stage, pattern) for stage, outputs in OUTPUTS.items() for pattern in outputs.values()]
    parts = [(stage, re.split(r"\{(\w+)\}", pattern)) for stage, pattern in patterns]
    named = [
        (stage, "".join(f"(?P<{text}>[^/]+)" if place % 2 else re.escape(text) for place, text in enumerate(part)))
        for stage, part in sorted(parts, key=lambda item: len(item[1]))
    ]
    return [(stage, re.compile(pattern)) for stage, pattern in named]
