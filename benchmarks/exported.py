"""An exported network against torch, side by side on one thread: bytes, milliseconds, and how far the probabilities differ.

    python benchmarks/exported.py --weights results/voc/seed-0/segmenters/eps/large_fov.safetensors --images photos

Both compute the same graph, from the uint8 image to probabilities at its pixels, on photographs of five sizes, or on rendered
images without --images. torch runs as `predict` has it, channels last. After a warm-up on each size they take turns;
milliseconds and the ratio are medians of the repeats. Exits with 1 where a probability differs by more than 1e-4.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from workflow_scripts.commands.export_network import TOLERANCE, metadata, photographs, rendered, write_file
from workflow_scripts.commands.predict import open_network, read_settings
from workflow_scripts.segmentation.exported import Graph


def milliseconds(run, image: np.ndarray) -> float:
    start = time.perf_counter()
    run(image)
    return 1000 * (time.perf_counter() - start)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--images", type=Path, help="folder of photographs")
    parser.add_argument("--repeats", type=int, default=9)
    options = parser.parse_args()
    torch.set_num_threads(1)
    network = open_network(options.weights)
    graph = Graph(network.network, network.align_corners).eval().requires_grad_(False)
    images = photographs(options.images) if options.images else rendered()

    def by_torch(image: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return graph(torch.from_numpy(image))[1].numpy()

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.onnx"
        about = metadata(read_settings(options.weights), network.network.backbone.stride, options.weights)
        by_onnx = write_file(graph, "onnx", path, about)
        sizes = [options.weights.stat().st_size, path.stat().st_size]
    print(f"{sizes[0] / 2**20:.2f} MiB of weights, {sizes[1] / 2**20:.2f} MiB of ONNX, ratio {sizes[1] / sizes[0]:.3f}")
    print("| pixels | torch, ms | ONNX, ms | torch / ONNX | greatest difference |\n|---|---|---|---|---|")
    largest = 0.0
    for image in images:
        difference = float(np.abs(by_torch(image) - by_onnx(image)).max())  # and a warm-up
        largest = max(largest, difference)
        pairs = [(milliseconds(by_torch, image), milliseconds(by_onnx, image)) for _ in range(options.repeats)]
        first, second = (statistics.median(times) for times in zip(*pairs, strict=True))
        ratio = statistics.median(one / other for one, other in pairs)
        print(f"| {image.shape[1]} x {image.shape[0]} | {first:.0f} | {second:.0f} | {ratio:.2f} | {difference:.1e} |")
    return int(largest > TOLERANCE)


if __name__ == "__main__":
    raise SystemExit(main())
