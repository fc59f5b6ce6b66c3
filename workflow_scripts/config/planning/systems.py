"""Systems: named chains of blocks, the rows that they have in the table, and what they are given."""

from pydantic import BaseModel

from workflow_scripts.config.planning.outputs import BLOCKS, of_seeds, output_path
from workflow_scripts.config.resolve import Config
from workflow_scripts.config.types import blocks, mask_blocks
from workflow_scripts.config.types.saliency_blocks import LearntSaliency


def chain(config: Config, dataset: str, system: str, seed: int | None = None) -> list[tuple[str, dict[str, str]]]:
    """The stages of a system that leave an artifact, in order, for one seed (the first, if not said)."""
    block, first = config.block(dataset, "systems", system), first_names(config, dataset, seed)
    stages = mask_stages(config, first, block.mask, block.cam)
    if block.segmenter:
        names = {**first, "mask": block.mask, "segmenter": block.segmenter}
        stages.append(("train_segmenter", names))
        stages += [("predictions", {**names, "prediction": prediction}) for prediction in block.predictions]
    return stages


def first_names(config: Config, dataset: str, seed: int | None) -> dict[str, str]:
    """What the names of a chain begin with: the data set, and the seed or the first that all stages have."""
    data = config.dataset(dataset)
    return {"dataset": dataset, "seed": str((data.segmentation_seeds or data.seeds)[0] if seed is None else seed)}


def mask_stages(
    config: Config, first: dict[str, str], mask: str | None, cam: str | None = None
) -> list[tuple[str, dict[str, str]]]:
    """The stages up to a mask, or up to maps alone, in order."""
    dataset = first["dataset"]
    stages: list[tuple[str, dict[str, str]]] = []
    first_mask = origin(config, dataset, mask) if mask else None
    asking: list = [first_mask] if first_mask else []
    classifier = None  # that of the maps; those of a folder have none
    if cam := cam or maps_of(config, dataset, mask):
        classifier = getattr(config.block(dataset, "cams", cam), "classifier", None)
        learner = config.block(dataset, "classifiers", classifier) if classifier else None
        asking = [*([] if learner is None or learner.trained else [learner]), *asking]
    for saliency in filter(None, (getattr(item, "saliency", None) for item in asking)):
        stages += [stage for stage in detection(config, dataset, saliency) if stage not in stages]
    if classifier:
        stages.append(("train_classifier", {**first, "classifier": classifier}))
    if cam:
        stages.append(("cams", {**first, "cam": cam}))
    if name := getattr(first_mask, "affinity", None):
        names = {**first, "affinity": name}
        labels = [] if is_imported(config, "train_affinity", names) else [("affinity_labels", names)]
        stages += [*labels, ("train_affinity", names)]
    if mask:
        if classifier := getattr(first_mask, "classifier", None):
            source = getattr(first_mask, "dataset", None) or dataset
            stages.append(("train_classifier", {**first, "dataset": source, "classifier": classifier}))
        stages += [("masks", {**first, "mask": name}) for name in reversed(made_from(config, dataset, mask))]
    return stages


def detection(config: Config, dataset: str, saliency: str) -> list[tuple[str, dict[str, str]]]:
    """The stages of a saliency block, after those of the maps that it learns from, each once."""
    block, names = config.block(dataset, "saliency", saliency), {"dataset": dataset, "saliency": saliency}
    stages = [stage for other in getattr(block, "maps", ()) for stage in detection(config, dataset, other)]
    if isinstance(block, LearntSaliency):
        stages.append(("train_saliency", names))
    stages.append(("saliency", names))
    return [stage for number, stage in enumerate(stages) if stage not in stages[:number]]


def made_from(config: Config, dataset: str, mask: str) -> list[str]:
    """A mask and the masks that it is made from, the first of them last."""
    found = [mask]
    while True:
        block = config.block(dataset, "masks", found[-1])
        source = getattr(block, "mask", None) or getattr(block, "otherwise", None)
        if source is None:
            return found
        found.append(source)


def origin(config: Config, dataset: str, mask: str):
    """The block of the mask that a mask is made from, however far back."""
    return config.block(dataset, "masks", made_from(config, dataset, mask)[-1])


def maps_of(config: Config, dataset: str, mask: str | None) -> str | None:
    """The class maps that a mask is made from on a data set, however far back; None where it needs none."""
    return origin(config, dataset, mask).maps(config.dataset(dataset)) if mask else None


def masks(config: Config, dataset: str) -> list[str]:
    """The masks of a data set's systems."""
    named = (config.block(dataset, "systems", system).mask for system in config.dataset(dataset).systems)
    return list(dict.fromkeys(filter(None, named)))


def boxed(config: Config, dataset: str) -> list[str]:
    """Those of them that were made from boxes."""
    return [mask for mask in masks(config, dataset) if origin(config, dataset, mask).starts_from == "boxes"]


def is_imported(config: Config, stage: str, names: dict[str, str]) -> bool:
    """Whether a training stage takes over trained weights instead of training."""
    section, wildcard = BLOCKS[stage]
    return getattr(config.block(names["dataset"], section, names[wildcard]), "trained", None) is not None


def rows(config: Config, dataset: str, system: str) -> list[dict]:
    """The rows of one system in the table: stage, prediction, split, scores of every seed, published figure."""
    data, block = config.dataset(dataset), config.block(dataset, "systems", system)
    rows: list[dict] = []

    def add(stage: str, rule: str, split: str, names: dict, **more) -> None:
        seeds = data.seeds if stage in {"cam", "mask", "mask_labelled"} else data.segmentation_seeds or data.seeds
        # An evaluation server scores what has no labels.
        paths = of_seeds(rule, seeds if data.labelled(split) else (), dataset=dataset, **names)
        row = {"system": system, "stage": stage, "split": split, "scores": paths}
        rows.append(row | {"published": published(block, dataset, split, stage, more.get("prediction"))} | more)

    mask = config.block(dataset, "masks", block.mask) if block.mask else None
    if cam := block.cam or maps_of(config, dataset, block.mask):
        add("cam", "score_cams", data.use.masks, {"cam": cam}, threshold_from=data.use.thresholds or "config")
    if mask is not None:
        threshold = getattr(mask, "threshold", None)
        held_out = isinstance(threshold, mask_blocks.HeldOutThreshold)
        source = data.use.thresholds if held_out else "config" if threshold is not None else None
        more: dict = {"threshold_from": source, "threshold": None if held_out else threshold}
        if held_out:
            more["threshold_in"] = next(row["scores"] for row in rows if row["stage"] == "cam")
        add("mask", "score_masks", data.use.masks, {"mask": block.mask}, **more)
        if getattr(mask, "label", None) == "agreement":  # also as papers count it: ignored pixels are left out
            add("mask_labelled", "score_masks", data.use.masks, {"mask": block.mask})
    for prediction in block.predictions:
        crf = isinstance(config.block(dataset, "predictions", prediction), blocks.CrfPrediction)
        names = {"mask": block.mask, "segmenter": block.segmenter, "prediction": prediction}
        for split in data.use.evaluation:
            add(
                "segmentation_crf" if crf else "segmentation",
                "score_predictions",
                split,
                names,
                prediction=prediction,
            )
    return rows


def published(block: BaseModel, dataset: str, split: str, stage: str, prediction: str | None = None) -> list[dict]:
    """The published figures of a system that stand beside a row, with their sources."""
    return [
        item.model_dump(exclude={"dataset", "split", "stage", "prediction"})
        for item in block.published
        if (item.dataset, item.split, item.stage) == (dataset, split, stage)
        and getattr(item, "prediction", None) in {None, prediction}
    ]


def given(config: Config, dataset: str) -> list[dict]:
    """Saliency and classifier scores: the quality of what the systems are given."""
    data = config.dataset(dataset)
    rows: dict[tuple, dict] = {}
    for system in data.systems:
        for stage, names in chain(config, dataset, system):
            if stage == "saliency":
                kind, paths = "saliency", [output_path("score_saliency", **names)]
            elif stage == "train_classifier":
                kind = "classifier"
                paths = of_seeds("classification", data.seeds, dataset=names["dataset"], classifier=names["classifier"])
            else:
                continue
            rows[kind, names[kind]] = {"kind": kind, "name": names[kind], "scores": paths}
    return list(rows.values())
