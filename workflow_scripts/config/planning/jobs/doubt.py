"""The job that measures how doubtful the masks of single images are: the stages that are compared."""

from collections.abc import Iterable

from workflow_scripts.base.errors import UserError
from workflow_scripts.config.planning import systems
from workflow_scripts.config.planning.context import Context
from workflow_scripts.config.planning.outputs import output_path
from workflow_scripts.config.planning.registry import Job, job, on_request
from workflow_scripts.config.types.blocks import CrfPrediction


@job("doubt")
def doubt(plan: Context, dataset: str, seed: str, mask: str) -> Job:
    split, stages = _split(plan, dataset, seed, mask), _compared(plan, dataset, seed, mask)
    if len(stages) == 1:
        raise UserError(
            f"config: masks.{mask}: nothing to compare these masks with, neither maps nor predictions; name them in a system "
            "that has a segmenter and predictions"
        )
    threshold = getattr(systems.origin(plan.config, dataset, mask), "threshold", None)
    settings: dict = {"dataset": dataset, "split": split}
    settings["threshold"] = threshold if isinstance(threshold, float) else plan.dataset(dataset).threshold
    return Job({"index": plan.index(dataset)} | stages, settings)


def _split(plan: Context, dataset: str, seed: str, mask: str) -> str:
    """The training split, or the scored one where nothing trains on these masks."""
    use, made = plan.dataset(dataset).use, plan.mask_splits(dataset, seed, mask)
    return next((split for split in (use.train, use.masks) if split in made), made[0])


def _compared(plan: Context, dataset: str, seed: str, mask: str) -> dict[str, str]:
    """Where the masks lie, the maps that they were made from, and what a network learnt of them; by stage."""
    names = {"dataset": dataset, "seed": seed}
    stages = dict(systems.mask_stages(plan.config, names, mask))  # of several saliency maps or masks the last
    found = {stage: output_path(stage, **stages[stage]) for stage in ("saliency", "cams", "masks") if stage in stages}
    return found | _predicted(plan, names, mask, _split(plan, dataset, seed, mask))


def _predicted(plan: Context, names: dict[str, str], mask: str, split: str) -> dict[str, str]:
    """The soft predictions of the first system that trains on a mask; a variant of them where they are not made for the split."""
    dataset, data = names["dataset"], plan.dataset(names["dataset"])
    trains = int(names["seed"]) in (data.segmentation_seeds or data.seeds)
    for system in (plan.block(dataset, "systems", name) for name in data.systems if trains):
        if system.mask == mask and system.segmenter and system.predictions:
            prediction = system.predictions[0]
            block = plan.block(dataset, "predictions", prediction)
            prediction = block.prediction if isinstance(block, CrfPrediction) else prediction
            if split not in plan.prediction_splits(dataset, prediction):
                prediction = f"{prediction}@{split}"
            names |= {"mask": mask, "segmenter": system.segmenter, "prediction": prediction}
            return {"predictions": output_path("predictions", **names)}
    return {}


def tables(plan: Context, dataset: str, seed: str, masks: Iterable[str]) -> dict[str, Job]:
    """The jobs of those masks that have anything to be compared with, by where they write."""
    return {
        output_path("doubt", dataset=dataset, seed=seed, mask=mask): doubt(plan, dataset, seed, mask)
        for mask in masks
        if len(_compared(plan, dataset, seed, mask)) > 1
    }


@on_request
def _requested(plan: Context, dataset: str) -> list[str]:
    masks = systems.masks(plan.config, dataset)
    return [path for seed in plan.dataset(dataset).seeds for path in tables(plan, dataset, str(seed), masks)]
