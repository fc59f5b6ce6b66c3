"""What each network of each system costs: parameters and multiply-adds, hours, images a second, memory.

Durations and memory are what the sidecars of the artifacts hold, of jobs that may have shared their machine.
"""

from types import SimpleNamespace

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from workflow_scripts import methods, segmentation
from workflow_scripts.base.errors import UserError
from workflow_scripts.refine import affinity_networks
from workflow_scripts.run.command import Job, run
from workflow_scripts.store.artifacts import open_hdf5
from workflow_scripts.store.csv_files import write_table
from workflow_scripts.store.provenance import read_sidecar, sidecar_path

COLUMNS = (
    "system",
    "network",
    "block",
    "side",  # of the square image, pixels
    "macs_g",
    "parameters_m",
    "images_per_second",  # with all test scales and passes, reading and writing included
    "hours",  # of training; of all its jobs in the row of a system
    "memory_mib",  # where it is used; of the process and its largest worker
    "gpu_memory_mib",
)


def main(job: Job) -> None:
    settings = job.settings
    rows = []
    for system in settings.systems:
        for part in system.networks:
            network = build(part.kind, part.block, settings.classes)
            row = {"network": part.kind, "block": part.name, "side": str(part.side)}
            row |= {"macs_g": _rounded(multiply_adds(network, part.side) / 1e9)}
            row |= {"parameters_m": _rounded(parameters(network) / 1e6)}
            row |= {"hours": _rounded(_record(part.trained)["seconds"] / 3600)}
            rows.append({"system": system.name} | row | (_use(part.used) if part.used else {}))
        seconds = sum(_record(path)["seconds"] for path in system.artifacts)
        rows.append({"system": system.name, "network": "all jobs", "hours": _rounded(seconds / 3600)})
    write_table(job.outputs.cost, rows, COLUMNS)


def build(kind: str, block: SimpleNamespace, classes: list[str]) -> nn.Module:
    """The network of a classifier, an affinity or a segmenter, on the device `meta`: sizes without values."""
    with torch.device("meta"):
        if kind == "classifier":
            network = methods.build(block, tuple(classes))
        elif kind == "affinity":
            network = affinity_networks.build(block)
        else:
            network = segmentation.build(block, len(classes) + 1)
    return network.eval()


def parameters(network: nn.Module) -> int:
    """Weights and biases, frozen ones too."""
    return sum(parameter.numel() for parameter in network.parameters())


def multiply_adds(network: nn.Module, side: int) -> float:
    """Of one image of side x side pixels, once through the network: half of the operations that PyTorch counts."""
    with torch.device("meta"), FlopCounterMode(display=False) as counter, torch.no_grad():
        getattr(network, "class_logits", network)(torch.zeros(1, 3, side, side))
    return counter.get_total_flops() / 2


def _use(artifact: str) -> dict:
    """Speed and memory of the job that used a network."""
    record, file = _record(artifact), open_hdf5(artifact)
    images = int(file.attrs["images"])
    file.close()
    memory = record.get("memory_mib", {})
    speed = {"images_per_second": _rounded(images / max(record["seconds"], 0.1))}
    return speed | {"memory_mib": memory.get("process"), "gpu_memory_mib": memory.get("gpu")}


def _record(artifact: str) -> dict:
    record = read_sidecar(artifact)
    if record is None or "seconds" not in record:
        raise UserError(f"{sidecar_path(artifact)}: missing or damaged, it says how long the job took; make it again")
    return record


def _rounded(value: float) -> str:
    """Four digits."""
    return f"{value:.4g}"


if __name__ == "__main__":
    run(main, lists=("artifacts",), outputs=("cost",))
