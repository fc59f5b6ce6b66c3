"""Jobs of saliency: the training of a detector, the maps of any, and the maps that a classifier estimates."""

from pathlib import Path

from workflow_scripts.base.errors import UserError
from workflow_scripts.config.families import module
from workflow_scripts.config.planning import sources, systems
from workflow_scripts.config.planning.context import Context
from workflow_scripts.config.planning.outputs import of_seeds, output_path
from workflow_scripts.config.planning.registry import Job, job, on_request
from workflow_scripts.config.types import saliency_blocks

LEARNING = {"initial", "seed", "recipe", "data", "maps", "binary"}  # what a trained network's maps do not depend on


@job("train_saliency")
def train_saliency(plan: Context, dataset: str, saliency: str) -> Job:
    data, block = plan.dataset(dataset), plan.block(dataset, "saliency", saliency)
    if not isinstance(block, saliency_blocks.LearntSaliency):
        raise UserError(f"config: saliency.{saliency}: detector {block.detector!r} is not trained")
    inputs: dict = {"initial": plan.initial(dataset, "", block.initial)}
    settings = {"block": block.model_dump(exclude={"crf", "maps"}), "threads": data.torch_threads}
    settings["initial_digest"] = plan.initial_digest(dataset, block.initial)
    modules = [*_modules(block), "data.checkpoints.saliency_weights"]
    if maps := getattr(block, "maps", ()):
        inputs |= {"index": plan.index(dataset), "images": plan.images(dataset)}
        inputs["maps"] = [output_path("saliency", dataset=dataset, saliency=name) for name in maps]
        settings |= {"dataset": dataset, "split": data.use.train}
        modules.append("data.samples.salient_maps")
    elif isinstance(block.data, saliency_blocks.FolderData):
        settings["sources"] = _folders_digest(dataset, block.data.images, block.data.masks)
        modules.append("data.samples.salient_folder")
    else:
        modules.append("data.samples.salient_rendered")
    return Job(inputs, settings, tuple(modules))


@job("saliency")
def saliency(plan: Context, dataset: str, saliency: str) -> Job:
    block = plan.block(dataset, "saliency", saliency)
    inputs: dict = {"index": plan.index(dataset), "images": plan.images(dataset)}
    settings: dict = {"dataset": dataset, "block": block.model_dump(exclude=LEARNING)}
    if isinstance(block, saliency_blocks.FolderSaliency):
        settings["sources"] = plan.folder_digest(dataset, block.path)
        return Job(inputs, settings)
    modules = ["refine.dense_crf"] if getattr(block, "crf", None) else []
    if isinstance(block, saliency_blocks.LearntSaliency):
        inputs["weights"] = output_path("train_saliency", dataset=dataset, saliency=saliency)
    elif weights := block.given_weights():
        inputs["weights"] = plan.initial(dataset, "", weights)
        settings["weights_digest"] = plan.initial_digest(dataset, weights)
    return Job(inputs, settings, (*modules, *_modules(block)))


@job("estimated_saliency")
def estimated_saliency(plan: Context, dataset: str, seed: str, cam: str) -> Job:
    classifier = estimating_classifier(plan, dataset, cam)
    inputs = {
        "index": plan.index(dataset),
        "cams": output_path("cams", dataset=dataset, seed=seed, cam=cam),
        "saliency": output_path("saliency", dataset=dataset, saliency=classifier.saliency),
    }
    settings = {"dataset": dataset, "splits": [plan.dataset(dataset).use.masks]}
    settings["options"] = classifier.options.model_dump(exclude={"saliency_weight"})
    return Job(inputs, settings, (f"methods.{classifier.method}",))


@job("saliency_table")
def saliency_table(plan: Context, dataset: str) -> Job:
    data = plan.dataset(dataset)
    rows = []
    for cam in _estimates(plan, dataset):
        detector = estimating_classifier(plan, dataset, cam).saliency
        given = [output_path("score_saliency", dataset=dataset, saliency=detector)]
        estimated = of_seeds("score_estimated_saliency", data.seeds, dataset=dataset, cam=cam)
        rows += [{"map": "detector", "name": detector, "detector": detector, "scores": given}]
        rows += [{"map": "estimate", "name": cam, "detector": detector, "scores": estimated}]
    if not rows:
        raise UserError(
            f"config: datasets.{dataset}.systems: none has a classifier that estimates saliency; list one that has"
        )
    rows = [row for number, row in enumerate(rows) if row not in rows[:number]]
    return Job({"scores": [path for row in rows for path in row["scores"]]}, {"rows": rows})


def _modules(block: saliency_blocks.Detector) -> list[str]:
    """The module of a detector, and those of its network and the backbone of this, if it has them."""
    network = getattr(block, "network", None)
    return [module(part) for part in (block, network, getattr(network, "backbone", None)) if part]


def _folders_digest(dataset: str, *folders: str) -> str:
    """Digest of all files in folders."""
    files = [str(path) for folder in folders for path in sorted(Path(folder).glob("*")) if path.is_file()]
    return sources.digest_of(dataset, files)


def _estimates(plan: Context, dataset: str) -> list[str]:
    """Cams of the data set's systems whose classifier estimates saliency."""
    chains = (systems.chain(plan.config, dataset, system) for system in plan.dataset(dataset).systems)
    cams = dict.fromkeys(names["cam"] for chain in chains for stage, names in chain if stage == "cams")
    return [cam for cam in cams if getattr(_classifier_of(plan, dataset, cam), "estimates_saliency", False)]


def _classifier_of(plan: Context, dataset: str, cam: str):
    """The classifier of a cam; None of maps that other code made."""
    name = getattr(plan.block(dataset, "cams", cam), "classifier", None)
    return plan.block(dataset, "classifiers", name) if name else None


def estimating_classifier(plan: Context, dataset: str, cam: str):
    """The classifier of a cam, which estimates saliency."""
    classifier = _classifier_of(plan, dataset, cam)
    if classifier is None or not classifier.estimates_saliency:
        made_by = f"method {classifier.method!r}" if classifier else "rule 'folder'"
        raise UserError(f"config: cams.{cam}: {made_by} estimates no saliency; name a cam of a classifier that does")
    return classifier


@on_request
def _requested(plan: Context, dataset: str) -> list[str]:
    """The table of what classifiers estimate of the saliency, and a picture of each."""
    cams = _estimates(plan, dataset)
    table = [output_path("saliency_table", dataset=dataset)] if cams else []
    return [*table, *(output_path("montage_saliency", dataset=dataset, cam=cam) for cam in cams)]
