"""Time of maps with semantic modulation against those of MCTformer alone, in one run on one machine.

    python benchmarks/modulation.py [--classes 20] [--runs 15] [--threads 1] [--device cpu]

DeiT-S with random weights, maps of one pass over images of several sizes. Runs of both alternate after a warm-up; seconds
are medians. Beside them stands the modulation alone. Exits with 1 where the ratio is above the limit; the paper pays 15.5 / 9.36
images a second.
"""

import argparse
import statistics
import sys
import time
from types import SimpleNamespace

import torch
from torch import nn

from workflow_scripts import networks
from workflow_scripts.methods.mctformer import Classifier
from workflow_scripts.methods.semantic_modulation import modulate

IMAGES = ((224, 224), (375, 500), (480, 640))  # height, width
LIMIT = 1.7
ATTENTION = {
    "class_to_patch": True, "patch_to_patch": True, "class_layers": 3, "patch_layers": 12, "orientation": "query"
}  # fmt: skip
PLAIN = SimpleNamespace(**ATTENTION, modulation=None)
MODULATED = SimpleNamespace(**ATTENTION, modulation=SimpleNamespace(fraction=0.3, alpha=1.2))


def seconds(call) -> float:
    """Of one call; what a GPU still has to do is waited for."""
    start = time.perf_counter()
    call()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - start


def measure(network: nn.Module, image: torch.Tensor, classes: int, runs: int) -> tuple[float, float, float]:
    """Median seconds of plain maps, of modulated ones, and of the modulation alone."""
    count = (image.shape[2] // 16) * (image.shape[3] // 16)
    of_classes = torch.rand(1, classes, count, device=image.device)
    between = torch.rand(1, count, count, device=image.device)
    calls = (
        lambda: network.maps(image, None, PLAIN),
        lambda: network.maps(image, None, MODULATED),
        lambda: modulate(of_classes, between),
    )
    times = [[seconds(call) for call in calls] for _ in range(runs + 2)][2:]
    return tuple(map(statistics.median, zip(*times, strict=True)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--classes", type=int, default=20)
    parser.add_argument("--runs", type=int, default=15)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    backbone = networks.build("vision_transformer")
    network = Classifier(backbone, tuple(map(str, range(arguments.classes))), SimpleNamespace(version="v2"))
    network.to(arguments.device).eval()
    missed = False
    print(f"{'image':>10} {'plain ms':>10} {'modulated ms':>13} {'ratio':>6} {'modulation alone ms':>20}")
    with torch.inference_mode():
        for height, width in IMAGES:
            image = torch.randn(1, 3, height, width, device=arguments.device)
            plain, modulated, alone = measure(network, image, arguments.classes, arguments.runs)
            ratio = modulated / plain
            missed |= ratio > LIMIT
            name = f"{width}x{height}"
            print(f"{name:>10} {1e3 * plain:10.1f} {1e3 * modulated:13.1f} {ratio:6.2f} {1e3 * alone:20.1f}")
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    main()
