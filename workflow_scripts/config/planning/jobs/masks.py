"""Jobs from maps or boxes to masks: thresholds, affinity networks, masks."""

from workflow_scripts.base.errors import UserError
from workflow_scripts.config.planning.context import Context
from workflow_scripts.config.planning.jobs.classifiers import train_network
from workflow_scripts.config.planning.outputs import output_path
from workflow_scripts.config.planning.registry import Job, job
from workflow_scripts.config.types import mask_blocks
from workflow_scripts.config.types.parts import nearest


@job("thresholds")
def thresholds(plan: Context, dataset: str, seed: str, cam: str) -> Job:
    data = plan.dataset(dataset)
    inputs = {
        "index": plan.index(dataset),
        "truth": output_path("truth", dataset=dataset),
        "cams": output_path("cams", dataset=dataset, seed=seed, cam=cam),
    }
    return Job(inputs, {"dataset": dataset, "split": data.use.thresholds})


@job("affinity_labels")
def affinity_labels(plan: Context, dataset: str, seed: str, affinity: str) -> Job:
    data, block = plan.dataset(dataset), plan.block(dataset, "affinities", affinity)
    cams = output_path("cams", dataset=dataset, seed=seed, cam=block.cam)
    inputs = {"index": plan.index(dataset), "images": plan.images(dataset), "cams": cams}
    settings = {
        "dataset": dataset,
        "split": data.use.affinity or data.use.train,
        "network": block.network,
        "labels": block.label_settings(),
    }
    return Job(inputs, settings, (f"refine.{block.network}_label",))


@job("train_affinity")
def train_affinity(plan: Context, dataset: str, seed: str, affinity: str) -> Job:
    data, block = plan.dataset(dataset), plan.block(dataset, "affinities", affinity)
    inputs = {"labels": output_path("affinity_labels", dataset=dataset, seed=seed, affinity=affinity)}
    return train_network(plan, dataset, seed, block, inputs, {"cam", "labels", "precision"}, data.use.affinity)


@job("masks")
def masks(plan: Context, dataset: str, seed: str, mask: str) -> Job:
    data, block = plan.dataset(dataset), plan.block(dataset, "masks", mask)
    settings: dict = {"dataset": dataset, "splits": plan.mask_splits(dataset, seed, mask)}
    settings["block"] = block.model_dump(exclude={"cam", "saliency"}, exclude_none=True)
    inputs: dict = {"index": plan.index(dataset), "saliency": plan.saliency(dataset, block)}
    if isinstance(block, mask_blocks.TruthMask):
        inputs["truth"] = output_path("truth", dataset=dataset)
        return Job(inputs, settings)
    if isinstance(block, mask_blocks.FolderMask):
        settings["block"] = block.model_dump(exclude={"otherwise"})
        settings["sources"] = plan.masks_digest(dataset, block.path)
        if block.otherwise:
            inputs["masks"] = output_path("masks", dataset=dataset, seed=seed, mask=block.otherwise)
        return Job(inputs, settings, ("data.readers.mask_folder",))
    if block.starts_from == "masks":
        return _derived_masks(plan, dataset, seed, mask, Job(inputs, settings))
    if block.starts_from == "boxes":
        return _box_masks(plan, dataset, seed, block, Job(inputs, settings))
    if cam := block.maps(data):
        inputs["cams"] = output_path("cams", dataset=dataset, seed=seed, cam=cam)
    if isinstance(getattr(block, "threshold", None), mask_blocks.HeldOutThreshold):
        if data.use.thresholds is None:
            raise UserError(
                f"config: masks.{mask}.threshold: data set {dataset!r} has no split for it in use.thresholds"
            )
        inputs["thresholds"] = output_path("thresholds", dataset=dataset, seed=seed, cam=block.cam)
    crf = getattr(block, "crf", None)
    modules = [f"refine.{block.rule}_mask", *(["refine.dense_crf"] if crf else [])]
    if hasattr(block, "affinity"):
        affinity = plan.block(dataset, "affinities", block.affinity)
        weights = output_path("train_affinity", dataset=dataset, seed=seed, affinity=block.affinity)
        inputs |= {"affinity": weights, "images": plan.images(dataset)}
        settings["block"] = block.model_dump(exclude={"cam", "affinity"}, exclude_none=True)
        settings["affinity"] = affinity.model_dump(exclude={"cam", "labels", "initial", "recipe", "trained"})
        modules += [f"refine.{affinity.network}", f"networks.{affinity.backbone.name}"]
    if crf:
        inputs["images"] = plan.images(dataset)
    return Job(inputs, settings, tuple(modules))


def _box_masks(plan: Context, dataset: str, seed: str, block, job: Job) -> Job:
    """Masks from boxes, which are in the index: by a classifier's features, or by the image alone."""
    modules = [f"refine.{block.rule}_mask", "refine.background", "data.boxes"]
    job.inputs["images"] = plan.images(dataset)
    if hasattr(block, "classifier"):
        source = getattr(block, "dataset", None) or dataset
        job.inputs["classifier"] = output_path(
            "train_classifier", dataset=source, seed=seed, classifier=block.classifier
        )
        classifier = plan.block(source, "classifiers", block.classifier)
        job.settings["block"] = block.model_dump(exclude={"classifier", "dataset"}, exclude_none=True)
        job.settings["classifier"] = {"backbone": classifier.backbone.model_dump()}
        modules.append(f"networks.{classifier.backbone.name}")
    return Job(job.inputs, job.settings, (*modules, *(["refine.dense_crf"] if getattr(block, "crf", None) else [])))


def _derived_masks(plan: Context, dataset: str, seed: str, mask: str, job: Job) -> Job:
    """Masks made from other masks, and from the truth of a split where the block says so."""
    data, block = plan.dataset(dataset), plan.block(dataset, "masks", mask)
    job.inputs["masks"] = output_path("masks", dataset=dataset, seed=seed, mask=block.mask)
    job.settings["block"] = block.model_dump(exclude={"mask"})
    if isinstance(block, mask_blocks.PartlyTrueMask):
        if block.split not in data.splits:
            raise UserError(
                f"config: masks.{mask}.split: data set {dataset!r} has no split {block.split!r}, "
                f"{nearest(block.split, data.splits)}"
            )
        job.inputs["truth"] = output_path("truth", dataset=dataset)
    return job
