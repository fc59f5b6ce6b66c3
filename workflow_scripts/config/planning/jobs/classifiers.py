"""Jobs of classifiers: their training, their scores, and their maps."""

from workflow_scripts.base.errors import UserError
from workflow_scripts.config.families import module
from workflow_scripts.config.planning.context import Context
from workflow_scripts.config.planning.outputs import output_path
from workflow_scripts.config.planning.registry import Job, job
from workflow_scripts.config.types.classifiers import Classifier
from workflow_scripts.config.types.initial import Network
from workflow_scripts.config.types.parts import nearest
from workflow_scripts.config.types.transformers import check_cam


@job("train_classifier")
def train_classifier(plan: Context, dataset: str, seed: str, classifier: str) -> Job:
    data, block = plan.dataset(dataset), plan.block(dataset, "classifiers", classifier)
    inputs = {
        "index": plan.index(dataset),
        "images": plan.images(dataset),
        "saliency": plan.saliency(dataset, block),
        "initial": plan.initial(dataset, seed, block.initial),
    }
    modules = modules_of(block)
    if block.trained:
        return imported(plan, dataset, block, modules)
    settings = {"block": block.model_dump(exclude={"saliency", "trained"}), "seed": int(seed)}
    settings |= plan.training(dataset)
    settings["initial_digest"] = plan.initial_digest(dataset, block.initial)
    settings |= {"split": data.use.train, "boxes": block.learns_from_boxes}
    for key, names in block.class_names().items():
        for name in names:
            if name not in data.classes:
                raise UserError(
                    f"config: classifiers.{classifier}.{key}: data set {dataset!r} has no class {name!r}, "
                    f"{nearest(name, data.classes)}"
                )
    return Job(inputs, settings, (*modules, *block.also_runs()))


@job("classification")
def classification(plan: Context, dataset: str, seed: str, classifier: str) -> Job:
    data, block = plan.dataset(dataset), plan.block(dataset, "classifiers", classifier)
    inputs = _with_classifier(plan, dataset, seed, classifier)
    settings = {"dataset": dataset, "split": (*data.scored_evaluation(), data.use.masks)[0]}
    settings |= {"classifier": _network(block)}
    return Job(inputs, settings, modules_of(block))


@job("cams")
def cams(plan: Context, dataset: str, seed: str, cam: str) -> Job:
    block = plan.block(dataset, "cams", cam)
    classifier = plan.block(dataset, "classifiers", block.classifier)
    settings = {
        "dataset": dataset,
        "block": block.model_dump(exclude={"classifier"}),
        "classifier": _network(classifier),
    }
    settings["splits"] = plan.cam_splits(dataset, seed, cam)
    inputs = _with_classifier(plan, dataset, seed, block.classifier)
    modules = dict.fromkeys((*modules_of(classifier), *block.also_runs()))
    check_cam(f"config: cams.{cam}", block, classifier)
    return Job(inputs, settings, tuple(modules))


def imported(plan: Context, dataset: str, block: Network, modules: tuple[str, ...]) -> Job:
    """The job of a training stage that takes over trained weights: it needs no images, no labels and no GPU."""
    data = plan.dataset(dataset)
    settings = {
        "block": block.model_dump(exclude={"saliency", "cam", "labels", "initial", "recipe"}),
        "classes": list(data.classes),
        "initial_digest": plan.initial_digest(dataset, block.trained),
    }
    return Job({"initial": plan.initial(dataset, "", block.trained)}, settings, modules)


def modules_of(block: Network) -> tuple[str, ...]:
    """The module of a block, that of its backbone and, where the stem of this is a network, that one."""
    stem = getattr(block.backbone, "stem", "linear")
    return module(block), module(block.backbone), *([f"networks.{stem}"] if stem != "linear" else [])


def _network(block: Classifier) -> dict:
    """What of a classifier's block is needed to build its network again."""
    return block.model_dump(include={"method", "backbone", "options"})


def _with_classifier(plan: Context, dataset: str, seed: str, classifier: str) -> dict:
    weights = output_path("train_classifier", dataset=dataset, seed=seed, classifier=classifier)
    return {"index": plan.index(dataset), "images": plan.images(dataset), "weights": weights}
