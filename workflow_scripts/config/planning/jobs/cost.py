"""Jobs that measure what systems cost."""

from collections.abc import Iterable
from typing import Any

from workflow_scripts.config.planning import systems
from workflow_scripts.config.planning.context import Context
from workflow_scripts.config.planning.jobs.classifiers import modules_of
from workflow_scripts.config.planning.outputs import BLOCKS, output_path
from workflow_scripts.config.planning.registry import Job, job, on_request

# Stages that train the networks of systems, and the stages that use these.
USES = {"train_classifier": "cams", "train_affinity": "masks", "train_segmenter": "predictions"}


@job("cost")
def cost(plan: Context, dataset: str) -> Job:
    return _cost(plan, dataset, plan.dataset(dataset).systems)


@job("cost_system")
def cost_system(plan: Context, dataset: str, system: str) -> Job:
    return _cost(plan, dataset, [system])


def _cost(plan: Context, dataset: str, measured: Iterable[str]) -> Job:
    """Of the systems' classifiers, affinities and segmenters, all of one seed."""
    data = plan.dataset(dataset)
    found: list[dict[str, Any]] = []
    modules: dict[str, None] = {}
    for system in measured:
        stages, networks = systems.chain(plan.config, dataset, system), []
        paths = [output_path(stage, **names) for stage, names in stages]
        for place, (stage, names) in enumerate(stages):
            if stage not in USES:
                continue
            section, kind = BLOCKS[stage]
            block = plan.block(dataset, section, names[kind])
            used = [path for path, (later, _) in zip(paths, stages, strict=True) if later == USES[stage]]
            kept = block.model_dump(exclude={"recipe", "initial", "saliency", "cam", "labels"})
            network = {"kind": kind, "name": names[kind], "block": kept, "side": block.recipe.crop}
            networks.append(network | {"trained": paths[place], "used": used[0] if used else None})
            modules |= dict.fromkeys(modules_of(block))
        found.append({"name": system, "networks": networks, "artifacts": paths})
    artifacts: dict[str, None] = dict.fromkeys(path for system in found for path in system["artifacts"])
    settings = {"dataset": dataset, "classes": list(data.classes), "systems": found}
    return Job({"artifacts": list(artifacts)}, settings, tuple(modules))


@on_request
def _requested(plan: Context, dataset: str) -> list[str]:
    return [output_path("cost", dataset=dataset)]
