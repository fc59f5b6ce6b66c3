"""The memory that trainings ask for: what blocks say of their networks against the networks, and what rules make of it."""

from types import SimpleNamespace

import pytest
import torch

from workflow_scripts import networks
from workflow_scripts.config.families import members
from workflow_scripts.config.planning.memory import of_training
from workflow_scripts.config.planning.rules import Rules
from workflow_scripts.config.planning.stages import STAGES
from workflow_scripts.config.types.parts import Held
from workflow_scripts.training.memory import saved_bytes

VGG = {"fc6_dilation": 4, "colours": "torch"}
RESNET = {"stride_in": "middle", "colours": "torch"}
VIT = {"heads": 3, "drop_path": 0, "grid": 14}
NETWORKS = [
    ("tiny", {"stride": 8}),
    ("tiny", {"stride": 16, "frozen_stages": 2}),
    *(("mobilenet_v2", {"stride": stride, "frozen_stages": frozen}) for stride, frozen in ((8, 0), (16, 3), (32, 0))),
    ("resnet38", {"stride": 8}),
    ("resnet38", {"stride": 8, "frozen_stages": 2}),
    *(("vgg16", {"stride": 8, "form": form, **VGG}) for form in ("psa", "large_fov", "aspp")),
    ("vgg16", {"stride": 16, "frozen_stages": 2, "form": "seenet", **VGG}),
    *(("resnet", {"stride": stride, "depth": 101, **RESNET}) for stride in (8, 16)),
    ("resnet", {"stride": 16, "depth": 50, "form": "irn", "frozen_stages": 3, **RESNET}),
    ("resnet", {"stride": 32, "depth": 50, **RESNET}),
    ("vision_transformer", {"patch": 16, "depth": 12, "width": 384, "stem": "linear", **VIT | {"heads": 6}}),
    ("vision_transformer", {"patch": 8, "depth": 4, "width": 96, "stem": "tiny", **VIT}),
]
KNOWN = {
    cls.model_fields["name"].annotation.__args__[0]: cls for cls in (*members("backbones"), *members("transformers"))
}


CASES = [
    *((name, options, 160) for name, options in NETWORKS),
    *((name, options, 224) for name, options in NETWORKS if name in {"tiny", "mobilenet_v2", "vision_transformer"}),
]


@pytest.mark.parametrize(("name", "options", "side"), CASES)
def test_a_block_says_what_its_network_keeps(name, options, side):
    kind = {} if name == "vision_transformer" else {"batch_norm": "frozen", "frozen_stages": 0}
    block = KNOWN[name](**{"name": name} | kind | options)
    network = networks.build(**block.model_dump()).to(memory_format=torch.channels_last).train()
    image = torch.randn(1, 3, side, side).contiguous(memory_format=torch.channels_last)
    tensors = [*network.parameters(), *network.buffers()]
    counted = saved_bytes(lambda: network(image), [*tensors, image]) / side**2
    held = block.held(side)
    assert counted <= held.kept <= 1.6 * counted
    millions = sum(tensor.numel() for tensor in tensors) / 1e6
    assert millions <= held.parameters <= max(1.6 * millions, 0.5 + millions)


def test_every_network_of_ours_says_it():
    assert {*KNOWN} - {"timm"} == {name for name, _ in NETWORKS}


def block(kept: float = 1000, **recipe) -> SimpleNamespace:
    recipe = {"crop": 512, "batch": 8, "accumulate": 1, "precision": "float32", "optimiser": "sgd"} | recipe
    return SimpleNamespace(trained=None, held=lambda: Held(100, kept), recipe=SimpleNamespace(**recipe))


def test_what_decides_the_memory_of_a_training():
    plain = of_training(block(), 21, 0, 1)
    assert of_training(block(kept=2000), 21, 0, 1) - plain == pytest.approx(1.35 * 2000, abs=1)  # 8 x 512 x 512 = 2 MiB
    assert of_training(block(accumulate=8), 21, 0, 1) < of_training(block(precision="bfloat16"), 21, 0, 1) < plain
    assert of_training(block(optimiser="adamw"), 21, 0, 1) - plain == pytest.approx(400e6 / 2**20, abs=1)
    assert of_training(block(), 21, 0, 4) - plain == 3 * 700 + 4 * 48  # loading processes, each with two batches
    # on a GPU a step is not in main memory
    assert of_training(block(kept=2000), 21, 1, 1) == of_training(block(), 21, 1, 1)
    assert of_training(block(), 21, 2, 8) > of_training(block(), 21, 1, 8) > 3000


class Wildcards(dict):
    __getattr__ = dict.__getitem__


def test_rules_ask_for_it_and_for_more_with_each_attempt(raw):
    rules = Rules(raw)

    def memory(stage: str, attempt: int = 1, **names: str) -> int:
        return rules.memory(STAGES[stage])(Wildcards(dataset="demo", seed="0", **names), attempt, threads=1)

    small, large = (memory("train_classifier", classifier=name) for name in ("cam", "cam_resnet38"))
    assert 1300 < small < 2 * 1300 and large > 2 * small  # processes that trained cam had 1,302 MiB
    assert memory("train_classifier", attempt=3, classifier="cam") == 3 * small
    assert memory("train_saliency", saliency="rendered") == STAGES["train_saliency"].mem_mb
    assert memory("cams", attempt=2, cam="cam") == 2 * STAGES["cams"].mem_mb
