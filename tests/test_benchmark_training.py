"""What the benchmark of the trainer counts: operations, the time a GPU is busy, shares of a profile; and what it compares."""

import copy
from types import SimpleNamespace

import pytest
import torch
from conftest import put
from torch import nn
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile
from training_set import classifier, recipe

from benchmarks import training
from workflow_scripts.config.resolve import Config

FROZEN = {"name": "tiny", "stride": 8, "batch_norm": "frozen", "frozen_stages": 0}
CONFIG = Config.load()


def test_operations_of_a_convolution_forward_and_backward():
    """2 N Co H W Ci k k forward and for the weights; the images have no gradient."""
    convolution, images = nn.Conv2d(3, 4, 3, padding=1, bias=False), torch.randn(2, 3, 8, 8)
    forward = 2 * 2 * 4 * 64 * 3 * 9
    assert training.operations(lambda batch: convolution(batch).sum().backward(), images) == 2 * forward
    images.requires_grad_()
    assert training.operations(lambda batch: convolution(batch).sum().backward(), images) == 3 * forward


@pytest.mark.parametrize(
    ("intervals", "length"),
    [([], 0), ([(0, 2), (5, 6)], 3), ([(5, 6), (0, 2), (1, 3)], 4), ([(0, 10), (2, 3), (9, 11)], 11)],
)
def test_time_that_is_covered(intervals, length):
    assert training.covered(intervals) == length


def event(kind: DeviceType, start: float, end: float, annotation: bool = False) -> SimpleNamespace:
    interval = SimpleNamespace(start=start, end=end)
    return SimpleNamespace(device_type=kind, time_range=interval, is_user_annotation=annotation)


def test_a_gpu_is_busy_while_kernels_run_that_are_counted_once():
    events = [
        event(DeviceType.CPU, 0, 1000),
        event(DeviceType.CUDA, 100, 200),
        event(DeviceType.CUDA, 150, 250),  # a copy beside a kernel
        event(DeviceType.CUDA, 400, 500),
        event(DeviceType.CUDA, 0, 1000, annotation=True),  # "Optimizer.step" as a range
    ]
    assert training.device_seconds(events) == pytest.approx(250e-6)


def test_shares_of_a_profile():
    left = torch.randn(200, 200)
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        for _ in range(5):
            (left @ left).relu()
    assert training.device_seconds(profiler.events()) == 0
    found = training.shares(profiler.key_averages(), "self_cpu_time_total")
    assert {"aten::mm", "aten::clamp_min"} <= {name for name, _, _ in found}
    assert sum(share for _, share, _ in found) == pytest.approx(1, abs=1e-6)
    assert dict((name, count) for name, _, count in found)["aten::mm"] == 5


def test_all_steps_on_the_cpu_learn_the_same():
    """The faster one is not faster because it does less."""
    network = classifier("eps", name="mobilenet_v2", stride=16, batch_norm="frozen", frozen_stages=3)
    torch.manual_seed(0)
    batch = {"image": torch.randn(2, 3, 64, 64), "labels": torch.tensor([[1.0, 0, 0, 1, 0, 0]] * 2)}
    batch["saliency"] = torch.rand(2, 1, 64, 64)
    trained = []
    for layers in (None, True, False):
        copied = copy.deepcopy(network)
        training.cpu_step(copied, recipe(batch=2), layers)(batch)
        trained.append(copied.state_dict())
    assert not torch.equal(trained[0]["head.weight"], network.head.weight)
    for other in trained[1:]:
        for name, value in other.items():
            torch.testing.assert_close(value, trained[0][name], rtol=1e-3, atol=1e-4)


def test_the_published_networks_are_fed_from_files(tmp_path, monkeypatch):
    monkeypatch.setattr(training, "FILES", 2)
    training.write_data(tmp_path, CONFIG.dataset("voc").classes)
    shapes = {}
    for kind, block in (("classifiers", "eps_resnet38"), ("segmenters", "deeplab_v2_resnet101")):
        case = training.Case("", kind, block, CONFIG)
        with torch.device("meta"):
            assert sum(p.numel() for p in case.network().parameters()) > 4e7
        shapes[block] = {
            name: value.shape for name, value in training.samples_of(tmp_path, kind, case.recipe)[0, 1].items()
        }
    assert shapes["eps_resnet38"] == {"image": (3, 448, 448), "labels": (20,), "saliency": (1, 448, 448)}
    assert shapes["deeplab_v2_resnet101"] == {"image": (3, 321, 321), "label": (321, 321)}


@pytest.mark.filterwarnings("ignore")  # of a profiler that finds no GPU
def test_the_gpu_part_runs_to_its_end(raw, tmp_path, monkeypatch, capsys):
    """On the CPU, with what asks the GPU replaced: no kernel ran on one, so that it was never busy."""
    put(raw, "classifiers.eps_resnet38.backbone", FROZEN)
    put(raw, "classifiers.eps_resnet38.initial", "random")
    put(raw, "classifiers.eps_resnet38.recipe", {"crop": 48, "batch": 2, "long_side": [40, 64]})
    monkeypatch.setattr(training, "FILES", 2)
    for name, value in {"synchronize": None, "empty_cache": None, "reset_peak_memory_stats": None}.items():
        monkeypatch.setattr(torch.cuda, name, lambda value=value: value)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda: 2**30)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "NVIDIA H200")
    monkeypatch.setattr(training, "product_rate", lambda where, dtype, tf32: 500.0)
    case = training.Case("tiny", "classifiers", "eps_resnet38", Config(raw))
    training.write_data(tmp_path, CONFIG.dataset("voc").classes)
    assert not training.gpu_part(tmp_path, [case], torch.device("cpu"), steps=1, workers=1)
    lines = capsys.readouterr().out.splitlines()
    rows = [line for line in lines if line.startswith("| tiny |")]
    assert len(rows) == 4 and all(row.count("|") == lines[1].count("|") == 11 for row in rows)
    assert rows[0].split(" | ")[7:9] == ["0.00", "1.00"] and "NOT MET" in "".join(lines)
