"""Jobs of pictures: montages, curves, charts, and what single methods show."""

from workflow_scripts.base.errors import UserError
from workflow_scripts.config.planning import systems
from workflow_scripts.config.planning.context import Context
from workflow_scripts.config.planning.jobs.classifiers import train_classifier
from workflow_scripts.config.planning.jobs.saliency import estimating_classifier
from workflow_scripts.config.planning.jobs.segmentation import train_segmenter
from workflow_scripts.config.planning.outputs import SHOWN, output_path
from workflow_scripts.config.planning.registry import Job, job, on_request
from workflow_scripts.config.planning.stages import STAGES


@job("montage")
def montage(plan: Context, dataset: str, system: str) -> Job:
    data = plan.dataset(dataset)
    chain = systems.chain(plan.config, dataset, system)
    shown = [(stage, names) for stage, names in chain if stage in SHOWN]
    predicts = any(stage == "predictions" for stage, _ in chain)
    splits = [data.use.masks, *((*data.scored_evaluation()[:1], *data.use.predict) if predicts else ())]
    paths = [output_path(stage, **names) for stage, names in shown]
    return _montage(plan, dataset, system, [[stage, SHOWN[stage]] for stage, _ in shown], paths, splits)


@job("montage_saliency")
def montage_saliency(plan: Context, dataset: str, cam: str) -> Job:
    data, detector = plan.dataset(dataset), estimating_classifier(plan, dataset, cam).saliency
    estimate = output_path("estimated_saliency", dataset=dataset, seed=str(data.seeds[0]), cam=cam)
    paths = [output_path("saliency", dataset=dataset, saliency=detector), estimate]
    columns = [["saliency", "saliency"], ["estimated_saliency", "saliency"]]
    return _montage(plan, dataset, cam, columns, paths, [data.use.masks])


def _montage(plan: Context, dataset: str, name: str, columns: list, artifacts: list[str], splits: list[str]) -> Job:
    inputs = {"index": plan.index(dataset), "images": plan.images(dataset), "truth": plan.truth(dataset)}
    settings = {"dataset": dataset, "system": name, "columns": columns, "images": plan.dataset(dataset).montage}
    return Job(inputs | {"artifacts": artifacts}, settings | {"splits": splits})


@job("curves")
def curves(plan: Context, dataset: str) -> Job:
    data = plan.dataset(dataset)
    curves: dict[str, str] = {}
    sweeps: dict[str, str] = {}
    for system in data.systems:
        for stage, names in systems.chain(plan.config, dataset, system):
            if STAGES[stage].trains and not systems.is_imported(plan.config, stage, names):
                parts = (f"{key} {value}" for key, value in names.items() if key != "dataset")
                curves[output_path(stage, "curve", **names)] = ", ".join(parts)
            if stage == "cams" and data.use.thresholds is not None:
                for seed in data.seeds:
                    path = output_path("thresholds", dataset=dataset, seed=seed, cam=names["cam"])
                    sweeps[path] = names["cam"]
    return Job(
        {"curves": list(curves), "sweeps": list(sweeps)},
        {"curves": [*curves.values()], "sweeps": [*sweeps.values()]},
    )


@job("charts")
def charts(plan: Context, dataset: str) -> Job:
    return Job({"miou": output_path("miou", dataset=dataset)}, {"classes": list(plan.dataset(dataset).classes)})


@job("filling_rates")
def filling_rates(plan: Context, dataset: str) -> Job:
    data = plan.dataset(dataset)
    seed = str(data.seeds[0])
    masks = [
        output_path("masks", dataset=dataset, seed=seed, mask=mask) for mask in systems.boxed(plan.config, dataset)
    ]
    inputs = {
        "index": plan.index(dataset),
        "truth": output_path("truth", dataset=dataset),
        "masks": masks,
    }
    return Job(inputs, {"dataset": dataset, "split": data.use.masks}, ("evaluation.filling_rate",))


@job("erasing")
def erasing(plan: Context, dataset: str, classifier: str) -> Job:
    data, block = plan.dataset(dataset), plan.block(dataset, "classifiers", classifier)
    if not block.erases or block.trained:
        raise UserError(
            f"config: classifiers.{classifier}: no training of method {block.method!r} that erases; name a classifier that does"
        )
    seed = str(data.seeds[0])
    training = train_classifier(plan, dataset, seed, classifier)
    inputs = {name: training.inputs[name] for name in ("index", "images", "initial")}
    settings = training.settings | {"classifier": classifier, "shown": data.use.masks}
    return Job(inputs, settings, training.modules)


@job("confidence")
def confidence(plan: Context, dataset: str, system: str) -> Job:
    data, block = plan.dataset(dataset), plan.block(dataset, "systems", system)
    if not _weighs_labels(plan, dataset, block.segmenter):
        raise UserError(
            f"config: systems.{system}: trains no segmenter whose loss weighs its labels, as loss.rule 'noise_aware' does; "
            "name a system that does"
        )
    seed = str((data.segmentation_seeds or data.seeds)[0])
    training = train_segmenter(plan, dataset, seed, block.mask, block.segmenter)
    inputs = training.inputs | {"truth": plan.truth(dataset)}
    settings = training.settings | {"system": system, "shown": data.use.masks}
    return Job(inputs, settings, training.modules)


def _weighs_labels(plan: Context, dataset: str, segmenter: str | None) -> bool:
    block = plan.block(dataset, "segmenters", segmenter) if segmenter else None
    return block is not None and block.weighs_labels() and not block.trained


@on_request
def _requested(plan: Context, dataset: str) -> list[str]:
    """How sure the segmenters of the data set's systems are whose loss weighs its labels."""
    trained = {name: plan.block(dataset, "systems", name).segmenter for name in plan.dataset(dataset).systems}
    sure = [name for name, segmenter in trained.items() if _weighs_labels(plan, dataset, segmenter)]
    return [output_path("confidence", dataset=dataset, system=name) for name in sure]
