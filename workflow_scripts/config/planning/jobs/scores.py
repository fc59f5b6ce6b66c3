"""Jobs that score saliency, maps, masks and predictions, and the table of mIoU."""

from workflow_scripts.config.planning import systems
from workflow_scripts.config.planning.context import Context
from workflow_scripts.config.planning.outputs import output_path
from workflow_scripts.config.planning.registry import Job, job


@job("score_saliency")
def score_saliency(plan: Context, dataset: str, saliency: str) -> Job:
    path = output_path("saliency", dataset=dataset, saliency=saliency)
    return _scores(plan, dataset, "saliency", path, [plan.dataset(dataset).use.masks])


@job("score_estimated_saliency")
def score_estimated_saliency(plan: Context, dataset: str, seed: str, cam: str) -> Job:
    path = output_path("estimated_saliency", dataset=dataset, seed=seed, cam=cam)
    return _scores(plan, dataset, "saliency", path, [plan.dataset(dataset).use.masks])


@job("score_cams")
def score_cams(plan: Context, dataset: str, seed: str, cam: str) -> Job:
    data = plan.dataset(dataset)
    job = _scores(plan, dataset, "cam", output_path("cams", dataset=dataset, seed=seed, cam=cam), [data.use.masks])
    if data.use.thresholds is not None:
        job.inputs["thresholds"] = output_path("thresholds", dataset=dataset, seed=seed, cam=cam)
    else:
        job.settings["threshold"] = data.threshold
    return job


@job("score_masks")
def score_masks(plan: Context, dataset: str, seed: str, mask: str) -> Job:
    path = output_path("masks", dataset=dataset, seed=seed, mask=mask)
    variant = plan.config.variant(dataset, "masks", mask)
    splits = list(variant.splits) if variant else [plan.dataset(dataset).use.masks]
    return _scores(plan, dataset, "mask", path, splits)


@job("score_predictions")
def score_predictions(plan: Context, dataset: str, seed: str, mask: str, segmenter: str, prediction: str) -> Job:
    names = {"dataset": dataset, "seed": seed, "mask": mask, "segmenter": segmenter, "prediction": prediction}
    path = output_path("predictions", **names)
    splits = plan.prediction_splits(dataset, prediction)
    data = plan.dataset(dataset)
    unscored = {*data.use.predicted()} - {*data.scored_evaluation()}
    return _scores(plan, dataset, "prediction", path, [split for split in splits if split not in unscored])


@job("miou")
def miou(plan: Context, dataset: str) -> Job:
    data = plan.dataset(dataset)
    rows = [row for system in data.systems for row in systems.rows(plan.config, dataset, system)]
    others = systems.given(plan.config, dataset)
    inputs = [path for row in rows for path in row["scores"]] + [path for row in others for path in row["scores"]]
    settings = {"dataset": dataset, "classes": list(data.classes), "rows": rows, "inputs": others}
    return Job({"scores": list(dict.fromkeys(inputs))}, settings)


def _scores(plan: Context, dataset: str, schema: str, artifact: str, splits: list[str]) -> Job:
    inputs: dict = {"index": plan.index(dataset), "artifact": artifact}
    inputs["truth"] = output_path("truth", dataset=dataset)
    measure = "evaluation.saliency" if schema == "saliency" else "evaluation.miou"
    return Job(inputs, {"dataset": dataset, "schema": schema, "splits": splits}, (measure,))
