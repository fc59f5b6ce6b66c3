"""Instance systems of a data set: which splits what they are made of is made for, and their rows in the table of mask AP."""

from workflow_scripts.config.planning import systems
from workflow_scripts.config.planning.outputs import of_seeds
from workflow_scripts.config.resolve import Config
from workflow_scripts.config.types.instance_blocks import InstanceSystem, MaskInstances


def chain(config: Config, dataset: str, system: str, seed: int | None = None) -> list[tuple[str, dict[str, str]]]:
    """The stages of an instance system that leave an artifact, in order, for one seed (the first, if not said)."""
    block, first = config.block(dataset, "instance_systems", system), systems.first_names(config, dataset, seed)
    made = config.block(dataset, "instances", block.instances)
    stages = systems.mask_stages(config, first, made.mask if isinstance(made, MaskInstances) else None)
    names = {**first, "instances": block.instances}
    stages.append(("instances", names))
    if block.network:
        names = {**names, "network": block.network}
        stages += [("train_instances", names), ("detections", names)]
    return stages


def scored_split(config: Config, dataset: str) -> str:
    """The split that instances made from boxes are scored on."""
    use = config.dataset(dataset).use
    return use.instances or use.masks


def named(config: Config, dataset: str) -> list[InstanceSystem]:
    """The instance systems that a data set lists."""
    return [config.block(dataset, "instance_systems", name) for name in config.dataset(dataset).instance_systems]


def trains(config: Config, dataset: str, network: str | None) -> bool:
    """Whether a network is trained here, not taken over."""
    return network is not None and config.block(dataset, "instance_networks", network).trained is None


def splits(config: Config, dataset: str, seed: str, instances: str) -> list[str]:
    """Splits that instances are made for: what is scored, and the training split where a network learns from them.

    Instances that no system names may be for a network.
    """
    data, users = config.dataset(dataset), [s for s in named(config, dataset) if s.instances == instances]
    learnt = not users or any(trains(config, dataset, system.network) for system in users)
    learnt = learnt and int(seed) in (data.segmentation_seeds or data.seeds)
    return sorted({scored_split(config, dataset), *({data.use.train} if learnt else ())})


def mask_splits(config: Config, dataset: str, seed: str, mask: str) -> set[str]:
    """Splits that the instances of the data set's systems need a mask of."""
    found: set[str] = set()
    for system in named(config, dataset):
        block = config.block(dataset, "instances", system.instances)
        if isinstance(block, MaskInstances) and mask in systems.made_from(config, dataset, block.mask):
            found |= set(splits(config, dataset, seed, system.instances))
    return found


def masks(config: Config, dataset: str) -> list[str]:
    """The masks that the data set's instances are cut from."""
    blocks = (config.block(dataset, "instances", system.instances) for system in named(config, dataset))
    return [block.mask for block in blocks if isinstance(block, MaskInstances)]


def rows(config: Config, dataset: str, system: str) -> list[dict]:
    """The rows of one system: stage, network, split, scores of every seed, published figures."""
    data, block = config.dataset(dataset), config.block(dataset, "instance_systems", system)
    found = []

    def add(stage: str, rule: str, split: str, seeds, names: dict) -> None:
        paths = of_seeds(rule, seeds, dataset=dataset, **names)
        about = {"system": system, "stage": stage, "network": names.get("network"), "split": split, "scores": paths}
        found.append(about | {"published": systems.published(block, dataset, split, stage)})

    names = {"instances": block.instances}
    add("instances", "precision_instances", scored_split(config, dataset), data.seeds, names)
    if block.network:
        seeds = data.segmentation_seeds or data.seeds
        for split in data.scored_evaluation():
            add("detections", "precision_detections", split, seeds, names | {"network": block.network})
    return found
