"""Speed of the trainer: on the CPU against plain float32, and on a GPU, if there is one, against what the device can do.

    python benchmarks/training.py [--threads 2] [--repeats 5] [--workers 8]

CPU: steps of a classifier with crops of 224 and batch 16 by the trainer (channels-last order, bfloat16 where the processor
has it) and plainly (float32, contiguous, the layers of torchvision or those of the trainer, whichever is faster), in turns
after a warm-up, median. At least 1.8 times as fast is asked for. Then the images that one loading process prepares in a second.

GPU: ResNet38 EPS at 448 with batch 8 and DeepLab-V2 ResNet-101 at 321 with batch 10, loaded from JPEG files of VOC's size as
in a real run. The operations of a step are those of its convolutions and matrix products, forward and backward, a multiplication and
an addition two of them; the peaks are the vendor's for dense operands, and what a large matrix product reaches on the device.
The GPU is busy while a kernel or a copy runs, which the profiler says; the step is timed without it. At least 90 % is asked
for. The profile tells which operations the time goes to.

Exits with 1 where a limit is missed.
"""

import argparse
import contextlib
import copy
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile
from torch.utils.data import Dataset
from torch.utils.flop_counter import FlopCounterMode

from workflow_scripts import methods, segmentation
from workflow_scripts.base.digests import file_sha256
from workflow_scripts.config.resolve import Config
from workflow_scripts.data.index import Images, read_index, write_index
from workflow_scripts.data.index_entries import Entry
from workflow_scripts.data.samples.classification_samples import ClassificationSamples
from workflow_scripts.data.samples.segmentation_samples import SegmentationSamples
from workflow_scripts.data.synthetic.synthetic import render_scene
from workflow_scripts.networks.depthwise import DepthwiseConv
from workflow_scripts.store.artifacts import create
from workflow_scripts.training import memory
from workflow_scripts.training.device import deterministic, native_bfloat16
from workflow_scripts.training.feed import batches
from workflow_scripts.training.optimiser import build
from workflow_scripts.training.step import Step

ROOT = Path(__file__).resolve().parent.parent
CPU = torch.device("cpu")
CPU_LIMIT, BUSY_LIMIT = 1.8, 0.9
CROP, BATCH = 224, 16  # of the CPU's part: the recipe of configs/voc_animals.yaml
BACKBONES = {
    "MobileNetV2": {"name": "mobilenet_v2", "stride": 16, "batch_norm": "frozen", "frozen_stages": 4},
    "ResNet-50": {"name": "resnet", "depth": 50, "stride": 16, "batch_norm": "frozen", "frozen_stages": 2}
    | {"stride_in": "first", "colours": "torch"},
}
VOC_SIZE, FILES = (375, 500), 64  # height, width; JPEG files that the GPU's part and the loading read
# Dense TFLOP/s of the vendors' data sheets, by a part of the device's name: bfloat16, TensorFloat-32, float32.
PEAKS = {
    "H100 PCIe": (756, 378, 51),
    "H100 NVL": (835, 418, 60),
    "H200": (989, 495, 67),
    "H100": (989, 495, 67),
    "B200": (2250, 1125, 75),
    "A100": (312, 156, 19.5),
    "L40S": (362, 183, 91.6),
    "RTX 4090": (165, 82.6, 82.6),
    "RTX 3090": (71, 35.6, 35.6),
}


def namespace(value):
    """A block as stages are given it."""
    return SimpleNamespace(**{k: namespace(v) for k, v in value.items()}) if isinstance(value, dict) else value


# --- CPU --------------------------------------------------------------------------------------------------------------


def cpu_step(network: nn.Module, recipe, plain_layers: bool | None) -> Callable[[dict], object]:
    """A step that the network learns by: the trainer's (None), or a plain one with torchvision's depthwise layers (True)
    or the trainer's."""
    if plain_layers is None:
        return Step(network, recipe, CPU)
    if plain_layers:
        for module in network.modules():
            if isinstance(module, DepthwiseConv):
                module.__class__ = nn.Conv2d
    optimiser, _ = build(network.train(), recipe)

    def plain(batch: dict[str, Tensor]) -> None:
        optimiser.zero_grad()
        sum(network.losses(batch).values()).backward()
        optimiser.step()

    return plain


def measure_cpu(name: str, repeats: int) -> dict[str, float]:
    """Median seconds of a step of each kind."""
    block = {"method": "cam", "backbone": BACKBONES[name], "options": {"dropout": 0.5}}
    recipe = Config.load().block("voc", "classifiers", "cam").recipe
    recipe = recipe.model_copy(update={"precision": "bfloat16" if native_bfloat16() else "float32"})
    network = methods.build(namespace(block), tuple("abcdef"))
    batch = {"image": torch.randn(BATCH, 3, CROP, CROP), "labels": torch.randint(0, 2, (BATCH, 6)).float()}
    ours = batch | {"image": batch["image"].contiguous(memory_format=torch.channels_last)}
    kinds = {"trainer": None, "plain": True}
    if any(isinstance(module, DepthwiseConv) for module in network.modules()):
        kinds["plain, trainer's layers"] = False
    steps = {kind: cpu_step(copy.deepcopy(network), recipe, layers) for kind, layers in kinds.items()}
    seconds: dict[str, list[float]] = {kind: [] for kind in steps}
    for number in range(repeats + 1):
        for kind, step in steps.items():
            begin = time.perf_counter()
            step(ours if kind == "trainer" else batch)
            if number:  # the first is the warm-up
                seconds[kind].append(time.perf_counter() - begin)
    return {kind: statistics.median(values) for kind, values in seconds.items()}


def cpu_part(repeats: int) -> bool:
    native = "natively" if native_bfloat16() else "by emulation: the trainer takes float32"
    print(f"CPU: bfloat16 {native}, {torch.get_num_threads()} threads, batch {BATCH}, crop {CROP}, median of {repeats}")
    print("| network | trainer s | plain s | plain, trainer's layers s | times faster |\n|---|---|---|---|---|")
    met = True
    for name in BACKBONES:
        found = measure_cpu(name, repeats)
        ratio = min(value for kind, value in found.items() if kind != "trainer") / found["trainer"]
        met &= ratio >= CPU_LIMIT
        cells = [
            f"{found[kind]:.2f}" if kind in found else "" for kind in ("trainer", "plain", "plain, trainer's layers")
        ]
        print(f"| {name} | {' | '.join(cells)} | {ratio:.2f} |", flush=True)
    print(f"at least {CPU_LIMIT} times as fast: {'met' if met else 'NOT MET'}\n")
    return met


# --- loading ----------------------------------------------------------------------------------------------------------


def write_data(folder: Path, classes: tuple[str, ...]) -> None:
    """Rendered scenes as JPEG files of VOC's size, with their index, saliency and masks."""
    height, width = VOC_SIZE
    rng, entries = np.random.default_rng(0), []
    about = {"dataset": "bench", "split": "train", "classes": classes}
    with (
        create(folder / "saliency.h5", "saliency", **about) as saliency,
        create(folder / "masks.h5", "mask", **about) as masks,
    ):
        for number in range(FILES):
            scene, identifier = render_scene(0, "train", number), f"image_{number:03d}"
            path = folder / f"{identifier}.jpg"
            Image.fromarray(scene.image).resize((width, height), Image.BICUBIC).save(path, quality=90)
            mask = np.array(Image.fromarray(scene.mask).resize((width, height), Image.NEAREST))
            saliency.put(identifier, saliency=np.where(np.isin(mask, [0, 255]), 0, 255).astype(np.uint8))
            masks.put(identifier, label=mask)
            labels = np.sort(rng.choice(len(classes), 2, replace=False))
            boxes = np.zeros((0, 5), np.float32)
            entries.append(Entry(identifier, str(path), height, width, file_sha256(path), labels, boxes))
    write_index(folder / "index.h5", "bench", classes, entries, {"train": [entry.id for entry in entries]})


def samples_of(folder: Path, kind: str, recipe) -> Dataset:
    index = read_index(folder / "index.h5")
    images = Images(index, None)
    if kind == "classifiers":
        return ClassificationSamples(index, images, "train", recipe, 0, folder / "saliency.h5")
    return SegmentationSamples(index, images, "train", recipe, 0, folder / "masks.h5")


def loading_part(folder: Path, cases: Iterable["Case"]) -> None:
    print("Loading: images that one process decodes and augments in a second")
    print("| recipe | augment: worker | augment: device |\n|---|---|---|")
    for case in cases:
        rates = []
        for augment in ("worker", "device"):
            samples = samples_of(folder, case.kind, case.recipe.model_copy(update={"augment": augment}))
            samples[0, 0]
            begin = time.perf_counter()
            for position in range(FILES):
                samples[0, position]
            rates.append(FILES / (time.perf_counter() - begin))
        print(f"| {case.name} | {rates[0]:.0f} | {rates[1]:.0f} |", flush=True)
    print()


# --- GPU --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Case:
    """A published network with its recipe."""

    name: str
    kind: str
    block: str
    config: Config

    @property
    def recipe(self):
        return self.config.block("voc", self.kind, self.block).recipe

    def network(self) -> nn.Module:
        block = namespace(self.config.block("voc", self.kind, self.block).model_dump())
        classes = self.config.dataset("voc").classes
        if self.kind == "classifiers":
            return methods.build(block, classes)
        return segmentation.build(block, len(classes) + 1)


def operations(step: Callable[[dict], object], batch: dict[str, Tensor]) -> int:
    """Floating-point operations of the convolutions and matrix products of one step, forward and backward."""
    with FlopCounterMode(display=False) as counter:
        step(batch)
    return counter.get_total_flops()


def covered(intervals: Iterable[tuple[float, float]]) -> float:
    """Length of the union of intervals."""
    total, reached = 0.0, -float("inf")
    for begin, end in sorted(intervals):
        total += max(0.0, end - max(begin, reached))
        reached = max(reached, end)
    return total


def device_seconds(events: Iterable) -> float:
    """Seconds in which the GPU ran a kernel or a copy, from the events of a profile."""
    kernels = (e for e in events if e.device_type == DeviceType.CUDA and not e.is_user_annotation)
    return covered((event.time_range.start, event.time_range.end) for event in kernels) / 1e6


def shares(averages: Iterable, attribute: str, most: int = 12) -> list[tuple[str, float, int]]:
    """The operations that take longest: name, share of the time of all, calls."""
    rows = [(row.key, getattr(row, attribute), row.count) for row in averages if row.device_type == DeviceType.CPU]
    total = sum(time for _, time, _ in rows) or 1
    rows = sorted(rows, key=lambda row: -row[1])[:most]
    return [(key, time / total, count) for key, time, count in rows if time]


@contextlib.contextmanager
def tensor_float(enabled: bool) -> Iterator[None]:
    """Convolutions of float32 with or without TensorFloat-32; torch's default is with."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = enabled
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = before


def product_rate(where: torch.device, dtype: torch.dtype, tf32: bool, side: int = 8192, repeats: int = 20) -> float:
    """TFLOP/s of a large matrix product of random numbers."""
    left, right = (torch.randn(side, side, device=where, dtype=dtype) for _ in range(2))
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high" if tf32 else "highest")
    times = []
    for _ in range(repeats + 3):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        left @ right
        end.record()
        end.synchronize()
        times.append(begin.elapsed_time(end) / 1e3)
    torch.set_float32_matmul_precision(before)
    return 2 * side**3 / statistics.median(times[3:]) / 1e12


def run_steps(step: Step, loaded: Iterator[dict[str, Tensor]], count: int) -> float:
    """Seconds of a step, loading included."""
    torch.cuda.synchronize()
    begin = time.perf_counter()
    for _ in range(count):
        step(next(loaded))
    torch.cuda.synchronize()
    return (time.perf_counter() - begin) / count


def measure_gpu(case: Case, folder: Path, where: torch.device, steps: int, workers: int, **changes) -> dict:
    """Seconds, operations and memory of a step, and its profile."""
    recipe = case.recipe.model_copy(update=changes | {"iterations": 10 + 3 * steps})
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    step = Step(case.network(), recipe, where)
    with batches(samples_of(folder, case.kind, recipe), recipe, 0, where, workers=workers) as loaded:
        first = next(loaded)
        estimate = memory.estimate(step, first)
        counted = operations(step, first)
        run_steps(step, loaded, 9)
        seconds = [run_steps(step, loaded, steps) for _ in range(2)]
        with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as profiler:
            run_steps(step, loaded, steps)
    return {
        "seconds": min(seconds),
        "operations": counted,
        "busy": device_seconds(profiler.events()) / steps / min(seconds),
        "shares": shares(profiler.key_averages(), "self_device_time_total"),
        "memory": torch.cuda.max_memory_allocated(),
        "estimate": estimate.total,
    }


def gpu_part(folder: Path, cases: Iterable[Case], where: torch.device, steps: int, workers: int) -> bool:
    device_name = torch.cuda.get_device_name()
    published = next((rates for name, rates in PEAKS.items() if name in device_name), None)
    kinds = {
        "bfloat16": ({"precision": "bfloat16", "augment": "device"}, True, 0, torch.bfloat16),
        "bfloat16, augment: worker": ({"precision": "bfloat16", "augment": "worker"}, True, 0, torch.bfloat16),
        "float32, TensorFloat-32 in convolutions (default)": ({"augment": "device"}, True, 1, torch.float32),
        "float32, no TensorFloat-32": ({"augment": "device"}, False, 2, torch.float32),
    }
    reached = {name: product_rate(where, dtype, tf32) for name, (_, tf32, _, dtype) in kinds.items()}
    print(f"GPU: {device_name}, {workers} loading processes, {steps} steps")
    print(
        "| network | precision | images/s | ms a step | TFLOP/s | of the published peak | of a matrix product | GPU busy | memory GiB "
        "| estimate GiB |\n|---|---|---|---|---|---|---|---|---|---|"
    )
    met, profiles = True, {}
    for case in cases:
        for name, (changes, tf32, column, _) in kinds.items():
            with tensor_float(tf32):
                found = measure_gpu(case, folder, where, steps, workers, **changes)
            profiles[case.name, name] = found["shares"]
            rate = found["operations"] / found["seconds"] / 1e12
            if "worker" not in name:
                met &= found["busy"] >= BUSY_LIMIT
            print(
                f"| {case.name} | {name} | {case.recipe.batch / found['seconds']:.1f} | {1e3 * found['seconds']:.1f} | {rate:.1f} | "
                f"{f'{rate / published[column]:.2f}' if published else 'unknown'} | {rate / reached[name]:.2f} | "
                f"{found['busy']:.2f} | {found['memory'] / 2**30:.2f} | {found['estimate'] / 2**30:.2f} |",
                flush=True,
            )
    print(f"GPU busy for at least {BUSY_LIMIT:.0%} of a step: {'met' if met else 'NOT MET'}")
    for (network, name), rows in profiles.items():
        print(f"\n{network}, {name}: share of the GPU's time, calls")
        for key, share, count in rows:
            print(f"  {share:6.1%} {count:7} {key}")
    return met


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="of PyTorch (default %(default)s)")
    parser.add_argument("--repeats", type=int, default=5, help="timed steps on the CPU (default %(default)s)")
    parser.add_argument("--steps", type=int, default=40, help="timed steps on the GPU (default %(default)s)")
    parser.add_argument("--workers", type=int, default=8, help="loading processes for the GPU (default %(default)s)")
    options = parser.parse_args()
    warnings.filterwarnings("ignore", message=".*does not have a deterministic implementation.*")
    deterministic(0, options.threads, options.threads)
    config = Config.load()
    cases = [
        Case("ResNet38 EPS", "classifiers", "eps_resnet38", config),
        Case("DeepLab-V2 ResNet-101", "segmenters", "deeplab_v2_resnet101", config),
    ]
    met = cpu_part(options.repeats)
    with tempfile.TemporaryDirectory() as folder:
        write_data(Path(folder), config.dataset("voc").classes)
        loading_part(Path(folder), cases)
        if torch.cuda.is_available():
            met &= gpu_part(Path(folder), cases, torch.device("cuda"), options.steps, options.workers)
        else:
            print("GPU: none is visible; rates of ResNet38 and DeepLab-V2 ResNet-101 were not measured")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
