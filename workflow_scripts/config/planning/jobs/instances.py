"""Jobs of instance segmentation, all of it made on request: masks of boxes, networks that learn from them, mask AP."""

from workflow_scripts.base.errors import UserError
from workflow_scripts.config.planning import instance_systems
from workflow_scripts.config.planning.context import Context
from workflow_scripts.config.planning.jobs.classifiers import modules_of, train_network
from workflow_scripts.config.planning.outputs import of_seeds, output_path
from workflow_scripts.config.planning.registry import Job, job, on_request
from workflow_scripts.config.types.instance_blocks import TrueInstances


@job("instance_truth")
def instance_truth(plan: Context, dataset: str) -> Job:
    settings, modules = plan.reading(dataset, "instances")
    inputs = {"index": plan.index(dataset), "rendered": plan.rendered(dataset), "archives": plan.manifests(dataset)}
    return Job(inputs, settings | {"splits": _true_instance_splits(plan, dataset)}, modules)


@job("instances")
def instance_masks(plan: Context, dataset: str, seed: str, instances: str) -> Job:
    block = plan.block(dataset, "instances", instances)
    settings: dict = {"dataset": dataset, "block": block.model_dump(exclude={"mask"})}
    settings["splits"] = instance_systems.splits(plan.config, dataset, seed, instances)
    inputs: dict = {"index": plan.index(dataset)}
    if isinstance(block, TrueInstances):
        inputs["truth"] = output_path("instance_truth", dataset=dataset)
        known = _true_instance_splits(plan, dataset)
        settings["splits"] = [split for split in settings["splits"] if split in known]
        return Job(inputs, settings)
    inputs["masks"] = output_path("masks", dataset=dataset, seed=seed, mask=block.mask)
    made = plan.mask_splits(dataset, seed, block.mask)
    settings["splits"] = [split for split in settings["splits"] if split in made]
    return Job(inputs, settings, ("refine.boxed_instances", "data.boxes"))


@job("coco_json")
def coco_json(plan: Context, dataset: str, seed: str, instances: str) -> Job:
    inputs = {
        "index": plan.index(dataset),
        "instances": output_path("instances", dataset=dataset, seed=seed, instances=instances),
    }
    data = plan.dataset(dataset)
    return Job(inputs, {"dataset": dataset, "kind": data.kind}, data.modules("images"))


@job("precision_instances")
def precision_instances(plan: Context, dataset: str, seed: str, instances: str) -> Job:
    path = output_path("instances", dataset=dataset, seed=seed, instances=instances)
    return _precision(plan, dataset, path, [instance_systems.scored_split(plan.config, dataset)])


@job("train_instances")
def train_instances(plan: Context, dataset: str, seed: str, instances: str, network: str) -> Job:
    data, block = plan.dataset(dataset), plan.block(dataset, "instance_networks", network)
    if not block.trained and data.use.train not in instance_masks(plan, dataset, seed, instances).settings["splits"]:
        raise UserError(
            f"config: datasets.{dataset}: no instance system trains a network on instances {instances!r} with seed {seed}; "
            "list one that does"
        )
    path = output_path("instances", dataset=dataset, seed=seed, instances=instances)
    return train_network(plan, dataset, seed, block, {"instances": path}, without={"finding"})


@job("detections")
def detections(plan: Context, dataset: str, seed: str, instances: str, network: str) -> Job:
    data, block = plan.dataset(dataset), plan.block(dataset, "instance_networks", network)
    names = {"dataset": dataset, "seed": seed, "instances": instances, "network": network}
    inputs = {"index": plan.index(dataset), "images": plan.images(dataset)}
    inputs["weights"] = output_path("train_instances", **names)
    settings = {"dataset": dataset, "splits": list(data.use.predicted())}
    settings["block"] = block.model_dump(exclude={"initial", "trained", "recipe", "frame"})
    return Job(inputs, settings, modules_of(block))


@job("precision_detections")
def precision_detections(plan: Context, dataset: str, seed: str, instances: str, network: str) -> Job:
    names = {"dataset": dataset, "seed": seed, "instances": instances, "network": network}
    return _precision(
        plan, dataset, output_path("detections", **names), list(plan.dataset(dataset).scored_evaluation())
    )


@job("mask_ap")
def mask_ap(plan: Context, dataset: str) -> Job:
    data = plan.dataset(dataset)
    if not data.instance_systems:
        raise UserError(f"config: datasets.{dataset}.instance_systems: none to tabulate; list at least one")
    rows = [row for system in data.instance_systems for row in instance_systems.rows(plan.config, dataset, system)]
    scores = list(dict.fromkeys(path for row in rows for path in row["scores"]))
    return Job({"scores": scores}, {"classes": list(data.classes), "rows": rows})


def _true_instance_splits(plan: Context, dataset: str) -> list[str]:
    """Splits that instances or detections are scored on, and that a network learns from their truth."""
    data = plan.dataset(dataset)
    found = {instance_systems.scored_split(plan.config, dataset), *data.scored_evaluation()}
    for system in instance_systems.named(plan.config, dataset):
        block = plan.block(dataset, "instances", system.instances)
        if isinstance(block, TrueInstances) and instance_systems.trains(plan.config, dataset, system.network):
            found.add(data.use.train)
    return sorted(found)


def _precision(plan: Context, dataset: str, artifact: str, splits: list[str]) -> Job:
    inputs = {"index": plan.index(dataset), "artifact": artifact}
    inputs["truth"] = output_path("instance_truth", dataset=dataset)
    return Job(inputs, {"dataset": dataset, "splits": splits})


@on_request
def _requested(plan: Context, dataset: str) -> list[str]:
    """The table of mask AP, and the masks of boxes as COCO's JSON."""
    data = plan.dataset(dataset)
    named = dict.fromkeys(system.instances for system in instance_systems.named(plan.config, dataset))
    files = [file for name in named for file in of_seeds("coco_json", data.seeds, dataset=dataset, instances=name)]
    return [output_path("mask_ap", dataset=dataset), *files] if named else []
