"""The small demo's jobs by hand, what is made from what, and which of them Snakemake would run."""

from collections.abc import Iterable
from pathlib import Path

from conftest import SMALL, dry_run

# The small demo by hand: every job, and the jobs that it is made from (those further up follow).
SCENES = ["render", "index"]
MADE_FROM = {
    "render": [],
    "index": ["render"],
    "truth": SCENES,
    "train_saliency rendered": [],
    "saliency rendered": [*SCENES, "train_saliency rendered"],
    "train_classifier cam": SCENES,
    "train_classifier eps": [*SCENES, "saliency rendered"],
    "train_classifier seenet": [*SCENES, "train_classifier cam"],
    "classification seenet": ["train_classifier seenet"],
    "cams seenet": ["train_classifier seenet"],
    "thresholds seenet": ["cams seenet", "truth"],
    "masks seenet": ["cams seenet", "saliency rendered"],
    "score_cams seenet": ["cams seenet", "thresholds seenet", "truth"],
    "score_masks seenet": ["masks seenet", "truth"],
    "montage seenet": ["cams seenet", "masks seenet", "truth"],
    "train_classifier bana": SCENES,
    "classification bana": ["train_classifier bana"],
    "train_classifier mctformer_v2": [*SCENES, "train_classifier cam"],
    "classification mctformer_v2": ["train_classifier mctformer_v2"],
    "cams semantic_modulation": ["train_classifier mctformer_v2"],
    "thresholds semantic_modulation": ["cams semantic_modulation", "truth"],
    "masks semantic_modulation": ["cams semantic_modulation"],
    "score_cams semantic_modulation": ["cams semantic_modulation", "thresholds semantic_modulation", "truth"],
    "score_masks semantic_modulation": ["masks semantic_modulation", "truth"],
    "montage semantic_modulation": ["cams semantic_modulation", "masks semantic_modulation", "truth"],
    "classification cam": ["train_classifier cam"],
    "classification eps": ["train_classifier eps"],
    "cams cam": ["train_classifier cam"],
    "cams eps": ["train_classifier eps"],
    "thresholds cam": ["cams cam", "truth"],
    "thresholds eps": ["cams eps", "truth"],
    "affinity_labels cam": ["cams cam"],
    "affinity_labels cam_irn": ["cams cam"],
    "train_affinity cam": ["affinity_labels cam", "train_classifier cam"],
    "train_affinity cam_irn": ["affinity_labels cam_irn", "train_classifier cam"],
    "masks cam": ["cams cam"],
    "masks cam_affinity": ["cams cam", "train_affinity cam"],
    "masks cam_irn": ["cams cam", "train_affinity cam_irn"],
    "masks labels_saliency": ["cams cam", "saliency rendered"],
    "masks eps": ["cams eps"],
    "masks eps_chosen": ["cams eps", "thresholds eps"],
    "masks eps_learnt": ["cams eps"],
    "masks eps_crf": ["cams eps"],
    "masks bana": [*SCENES, "train_classifier bana"],
    "masks truth": ["truth"],
    "train_segmenter eps/large_fov": ["masks eps", "train_classifier cam"],
    "train_segmenter bana/bana": ["masks bana", "train_classifier cam"],
    "train_segmenter truth/large_fov": ["masks truth", "train_classifier cam"],
    "predictions eps/large_fov/single": ["train_segmenter eps/large_fov"],
    "predictions eps/large_fov/multi": ["train_segmenter eps/large_fov"],
    "predictions eps/large_fov/multi_crf": ["predictions eps/large_fov/multi"],
    "predictions bana/bana/single": ["train_segmenter bana/bana"],
    "predictions truth/large_fov/single": ["train_segmenter truth/large_fov"],
    "score_saliency rendered": ["saliency rendered", "truth"],
    "score_cams cam": ["cams cam", "thresholds cam", "truth"],
    "score_cams eps": ["cams eps", "thresholds eps", "truth"],
    "score_masks cam": ["masks cam", "truth"],
    "score_masks cam_affinity": ["masks cam_affinity", "truth"],
    "score_masks cam_irn": ["masks cam_irn", "truth"],
    "score_masks labels_saliency": ["masks labels_saliency", "truth"],
    "score_masks eps": ["masks eps", "truth"],
    "score_masks eps_chosen": ["masks eps_chosen", "truth"],
    "score_masks eps_learnt": ["masks eps_learnt", "truth"],
    "score_masks eps_crf": ["masks eps_crf", "truth"],
    "score_masks bana": ["masks bana", "truth"],
    "score_masks truth": ["masks truth", "truth"],
    "score_predictions eps/large_fov/single": ["predictions eps/large_fov/single", "truth"],
    "score_predictions eps/large_fov/multi": ["predictions eps/large_fov/multi", "truth"],
    "score_predictions eps/large_fov/multi_crf": ["predictions eps/large_fov/multi_crf", "truth"],
    "score_predictions bana/bana/single": ["predictions bana/bana/single", "truth"],
    "score_predictions truth/large_fov/single": ["predictions truth/large_fov/single", "truth"],
    "montage cam": ["cams cam", "masks cam", "truth"],
    "montage cam_affinity": ["cams cam", "masks cam_affinity", "truth"],
    "montage cam_irn": ["cams cam", "masks cam_irn", "truth"],
    "montage labels_saliency": ["cams cam", "masks labels_saliency", "saliency rendered", "truth"],
    "montage eps": ["cams eps", "masks eps", "predictions eps/large_fov/single", "predictions eps/large_fov/multi_crf", "truth"],
    "montage eps_chosen": ["cams eps", "masks eps_chosen", "truth"],
    "montage eps_learnt": ["cams eps", "masks eps_learnt", "truth"],
    "montage eps_crf": ["cams eps", "masks eps_crf", "truth"],
    "filling_rates": ["masks bana", "truth"],
    "montage bana": ["masks bana", "predictions bana/bana/single", "truth"],
    "montage truth": ["masks truth", "predictions truth/large_fov/single", "truth"],
}  # fmt: skip
MADE_FROM["curves"] = [job for job in MADE_FROM if job.startswith(("train_", "thresholds "))]
MADE_FROM["miou"] = [job for job in MADE_FROM if job.startswith(("score_", "classification "))]
MADE_FROM["charts"] = ["miou"]
MADE_FROM["pictures"] = ["charts", "curves", "filling_rates", *(job for job in MADE_FROM if job.startswith("montage "))]


def below(*jobs: str) -> set[str]:
    """The jobs and all that is made from them."""
    assert set(jobs) <= set(MADE_FROM)
    found = set(jobs)
    while more := {job for job, parents in MADE_FROM.items() if job not in found and found & set(parents)}:
        found |= more
    return found


def of(*rules: str) -> list[str]:
    """All jobs of these rules."""
    return [job for job in MADE_FROM if job.split()[0] in rules]


def named(jobs: Iterable[tuple[str, str]]) -> set[str]:
    """Jobs as above: those of seed 0, the only one of the demo, without it."""
    return {f"{rule} {names.removeprefix('0/')}".strip() for rule, names in jobs}


def stale(folder: Path, *overlays: Path) -> set[str]:
    """The jobs that would run in a folder, with further configuration files."""
    return named(dry_run(folder, configfiles=[*SMALL, *overlays]))


def demo(**overrides) -> dict:
    """A change of blocks for the demo alone."""
    return {"datasets": {"demo": {"overrides": overrides}}}


def edit(folder: Path, *modules: str) -> None:
    """Add a statement to modules."""
    for module in modules:
        with open(folder / "workflow_scripts" / module, "a") as file:
            file.write("\n\nEDITED = True\n")
