"""Jobs of classifiers: their training, their scores, and their maps."""

from collections.abc import Collection
from typing import Any

from workflow_scripts.base.errors import UserError
from workflow_scripts.config.families import module
from workflow_scripts.config.planning.context import Context
from workflow_scripts.config.planning.outputs import output_path
from workflow_scripts.config.planning.registry import Job, job
from workflow_scripts.config.types.blocks import FolderCam
from workflow_scripts.config.types.classifiers import Classifier
from workflow_scripts.config.types.initial import Network
from workflow_scripts.config.types.parts import nearest


@job("train_classifier")
def train_classifier(plan: Context, dataset: str, seed: str, classifier: str) -> Job:
    data, block = plan.dataset(dataset), plan.block(dataset, "classifiers", classifier)
    job = train_network(plan, dataset, seed, block, {"saliency": plan.saliency(dataset, block)}, without={"saliency"})
    if block.trained:
        return job
    for key, names in block.class_names().items():
        for name in names:
            if name not in data.classes:
                raise UserError(
                    f"config: classifiers.{classifier}.{key}: data set {dataset!r} has no class {name!r}, "
                    f"{nearest(name, data.classes)}"
                )
    return Job(job.inputs, job.settings | {"boxes": block.learns_from_boxes}, job.modules)


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
    if isinstance(block, FolderCam):
        return _folder_cams(plan, dataset, seed, cam, block)
    classifier = plan.block(dataset, "classifiers", block.classifier)
    settings = {
        "dataset": dataset,
        "block": block.model_dump(exclude={"classifier"}),
        "classifier": _network(classifier),
    }
    settings["splits"] = plan.cam_splits(dataset, seed, cam)
    inputs = _with_classifier(plan, dataset, seed, block.classifier)
    return Job(inputs, settings, (*modules_of(classifier), *classifier.map_modules(block)))


def _folder_cams(plan: Context, dataset: str, seed: str, cam: str, block: FolderCam) -> Job:
    """Maps that other code made."""
    for name in plan.dataset(dataset).classes:
        if block.classes is not None and name not in block.classes:
            raise UserError(
                f"config: cams.{cam}.classes: lacks class {name!r} of data set {dataset!r}, {nearest(name, block.classes)}"
            )
    settings = {"dataset": dataset, "block": block.model_dump(), "splits": plan.cam_splits(dataset, seed, cam)}
    settings["sources"] = plan.maps_digest(dataset, block.path)
    return Job({"index": plan.index(dataset)}, settings, ("data.folder_maps",))


IMPORTED = {"initial", "recipe", "saliency", "cam", "labels", "finding"}  # what trained weights do not depend on


def train_network(
    plan: Context,
    dataset: str,
    seed: str,
    block: Any,
    inputs: dict,
    without: Collection[str] = (),
    split: str | None = None,
) -> Job:
    """The job that trains a network, or takes over its trained weights: that needs no images, no labels and no GPU.

    Args:
        inputs: what it learns from, beside the images.
        without: keys of the block that its training does not depend on.
        split: of the images; the data set's training split if None.
    """
    if block.trained:
        settings = {"block": block.model_dump(exclude=IMPORTED), "classes": list(plan.dataset(dataset).classes)}
        settings["initial_digest"] = plan.initial_digest(dataset, block.trained)
        return Job({"initial": plan.initial(dataset, "", block.trained)}, settings, modules_of(block))
    inputs = {"index": plan.index(dataset), "images": plan.images(dataset)} | inputs
    settings = {"block": block.model_dump(exclude={"trained", *without}), "seed": int(seed)} | plan.training(dataset)
    settings |= {"split": split or plan.dataset(dataset).use.train}
    settings["initial_digest"] = plan.initial_digest(dataset, block.initial)
    inputs["initial"] = plan.initial(dataset, seed, block.initial)
    return Job(inputs, settings, (*modules_of(block), *block.also_runs()))


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
