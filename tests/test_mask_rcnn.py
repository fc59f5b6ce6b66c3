"""Mask R-CNN: its loss on reliable pixels, its samples, what it finds, and the jobs of the table of mask AP."""

import csv
import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from conftest import copy_sources, dry_run, put, python, refused
from demo_graph import named
from torch.nn import functional
from torchvision.models.detection import MaskRCNN_ResNet50_FPN_Weights

from workflow_scripts import instance_segmentation
from workflow_scripts.config.planning.plan import Plan
from workflow_scripts.config.resolve import Config
from workflow_scripts.data.index import Images, read_index
from workflow_scripts.data.instances import Instances
from workflow_scripts.data.samples.instance_samples import InstanceSamples
from workflow_scripts.instance_segmentation import mask_rcnn
from workflow_scripts.instance_segmentation.inference import detections
from workflow_scripts.store.artifacts import create

# --- the loss ---------------------------------------------------------------------------------------------------------


def test_unreliable_cells_have_no_gradient():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(5, 28, 28, generator=generator, requires_grad=True)
    wanted, reliable = (torch.rand(5, 28, 28, generator=generator) for _ in range(2))
    reliable = reliable < 0.6
    loss = mask_rcnn.mask_loss(logits, wanted, reliable)
    torch.testing.assert_close(loss, functional.binary_cross_entropy_with_logits(logits[reliable], wanted[reliable]))
    (gradient,) = torch.autograd.grad(loss, logits)
    assert (gradient[~reliable] == 0).all() and (gradient[reliable] != 0).all()


@pytest.mark.parametrize("count", [0, 3])
def test_without_a_reliable_cell_the_loss_is_nothing(count):
    logits = torch.randn(count, 28, 28, requires_grad=True)
    loss = mask_rcnn.mask_loss(logits, torch.zeros(count, 28, 28), torch.zeros(count, 28, 28, dtype=torch.bool))
    (gradient,) = torch.autograd.grad(loss, logits)
    assert loss == 0 and (gradient == 0).all()


def test_a_mask_in_other_boxes():
    """The left half of a frame is object: in the frame itself, in a box twice as wide, in a part, and beside it."""
    mask = torch.zeros(4, 56, 56, dtype=torch.uint8)
    mask[:, :, :28] = 1
    frames = torch.tensor([[10.0, 20, 50, 60]]).repeat(4, 1)
    boxes = torch.tensor([[10.0, 20, 50, 60], [10, 20, 90, 60], [10, 30, 30, 40], [60, 20, 90, 60]])
    wanted, reliable = mask_rcnn.projected(mask, frames, boxes, 28)
    assert reliable.all()
    half = torch.zeros(28, 28)
    half[:, :14] = 1
    torch.testing.assert_close(wanted[0], half)
    quarter = torch.zeros(28, 28)
    quarter[:, :7] = 1
    torch.testing.assert_close(wanted[1], quarter)
    assert (wanted[2] == 1).all() and (wanted[3] == 0).all()


def test_shares_are_of_the_reliable_part():
    """An object in a column of every four, what is unreliable in the two after it."""
    mask = torch.zeros(1, 112, 112, dtype=torch.uint8)
    mask[:, :, ::4], mask[:, :, 1::4] = 1, 255
    frame = torch.tensor([[0.0, 0, 28, 28]])
    wanted, reliable = mask_rcnn.projected(mask, frame, frame, 28)
    assert reliable.all()
    torch.testing.assert_close(wanted, torch.full((1, 28, 28), 1 / 3))
    mask[:, :, 2::4] = mask[:, :, 3::4] = 255
    assert not mask_rcnn.projected(mask, frame, frame, 28)[1].any()
    assert mask_rcnn.projected(mask[:0], frame[:0], frame[:0], 28)[0].shape == (0, 28, 28)


# --- the network ------------------------------------------------------------------------------------------------------

DEMO = {"dataset": "demo", "seed": "0", "instances": "truth", "network": "mask_rcnn"}


def spaces(text: str) -> SimpleNamespace:
    return json.loads(text, object_hook=lambda item: SimpleNamespace(**item))


@pytest.fixture(scope="module")
def blocks(shipped) -> tuple[SimpleNamespace, SimpleNamespace]:
    """As the demo has it, for training and for use."""
    plan = Plan(Config(shipped))
    return tuple(spaces(plan.settings(stage, DEMO)).block for stage in ("train_instances", "detections"))


@pytest.fixture
def network(blocks):
    torch.manual_seed(0)
    return instance_segmentation.build(blocks[1], 7)


def test_as_many_parameters_as_published(shipped):
    """torchvision's network of ResNet-50 and 91 labels, which does not count its frozen normalisation."""
    block = Config(shipped).block("coco2017", "instance_networks", "mask_rcnn_resnet101")
    block = spaces(block.model_dump_json(exclude={"initial", "trained", "recipe"}))
    block.backbone.depth = 50
    with torch.device("meta"):
        network = instance_segmentation.build(block, 91)
    frozen = sum(p.numel() for m in network.modules() if isinstance(m, torch.nn.BatchNorm2d) for p in m.parameters())
    expected = MaskRCNN_ResNet50_FPN_Weights.COCO_V1.meta["num_params"]
    assert sum(parameter.numel() for parameter in network.parameters()) - frozen == expected
    assert network.heads.box_roi_pool.scales == [1 / 4, 1 / 8, 1 / 16, 1 / 32]


def batch(value: int = 1) -> dict[str, torch.Tensor]:
    """Two images, an instance in the first; the second has none."""
    found = {"image": torch.rand(2, 3, 128, 128, generator=torch.Generator().manual_seed(0))}
    found |= {"size": torch.tensor([[96, 128], [64, 96]]), "boxes": torch.full((2, 3, 5), -1.0)}
    found |= {"frames": torch.zeros(2, 3, 4), "masks": torch.zeros(2, 3, 56, 56, dtype=torch.uint8)}
    found["boxes"][0, 0] = torch.tensor([10.0, 20, 60, 70, 4])
    found["frames"][0, 0], found["masks"][0, 0] = found["boxes"][0, 0, :4], value
    return found


def test_boxes_are_learnt_of_every_instance_masks_where_they_are_reliable(network):
    network.train()
    losses = {}
    for value in (1, 255):
        torch.manual_seed(0)
        losses[value] = network.losses(batch(value))
    assert losses[1].keys() == {"objectness", "rpn_box_reg", "classifier", "box_reg", "mask"}
    assert losses[255]["mask"] == 0 < losses[1]["mask"]
    for name in ("objectness", "rpn_box_reg", "classifier", "box_reg"):
        torch.testing.assert_close(losses[1][name], losses[255][name])
        assert losses[1][name] > 0
    predictor = list(network.heads.mask_predictor.parameters())
    assert all(
        (gradient == 0).all() for gradient in torch.autograd.grad(losses[255]["mask"], predictor, retain_graph=True)
    )
    sum(losses[1].values()).backward()
    assert all(parameter.grad.isfinite().all() for parameter in network.parameters() if parameter.grad is not None)
    new = {id(parameter) for parameter in network.new_parameters()}
    assert new.isdisjoint(map(id, network.backbone.parameters()))


def test_what_is_found_lies_in_the_image(network, blocks):
    network.heads.score_thresh = 0.0
    image = np.random.default_rng(0).integers(0, 255, (70, 101, 3), dtype=np.uint8)
    found = detections(network.eval(), image, blocks[1].finding)
    again = Instances.from_arrays(found.arrays())
    assert 0 < len(found) == len(again) <= blocks[1].finding.count
    assert (np.diff(found.scores) <= 0).all() and set(found.boxes[:, 4]) <= set(range(6))
    assert (found.windows[:, 1] <= 70).all() and (found.windows[:, 3] <= 101).all()
    assert all(patch.any() for patch in found.patches)


# --- samples ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def boxed(rendered, tmp_path_factory):
    """Instances of the rendered images: all of a box but its first two rows, which are unreliable; one in a crowd."""
    index = read_index(rendered / "index.h5")
    path = tmp_path_factory.mktemp("instances") / "instances.h5"
    with create(path, "instances", dataset="demo", split="train", classes=index.classes) as artifact:
        for identifier in index.ids:
            boxes = index.boxes_of(identifier)
            windows = boxes[:, [1, 3, 0, 2]].astype(np.int32)
            patches = tuple(np.ones((bottom - top, right - left), np.uint8) for top, bottom, left, right in windows)
            for patch in patches:
                patch[:2] = 255
            crowd = np.zeros(len(boxes), np.uint8)
            crowd[1:2] = 1
            artifact.put(identifier, **Instances(boxes, windows, patches, crowd=crowd).arrays())
    return index, Images(index, rendered / "images.h5"), path


def recipe(**changes) -> SimpleNamespace:
    jitter = SimpleNamespace(brightness=0.1, contrast=0.1, saturation=0, hue=0)
    about = {"short_side": [48, 96], "crop": 128, "most": 4, "jitter": jitter, "augment": "worker"}
    return SimpleNamespace(**about | changes)


def test_boxes_and_masks_follow_the_pixels(boxed):
    index, images, path = boxed
    samples = InstanceSamples(index, images, "train", recipe(), 0, path, 56)
    seen = set()
    for epoch in range(4):
        for position, identifier in enumerate(samples.ids):
            sample, again = samples[epoch, position], samples[epoch, position]
            assert all(torch.equal(sample[name], again[name]) for name in sample)
            height, width = sample["size"].tolist()
            image, given = sample["image"], index.boxes_of(identifier)
            assert (
                (image[:, height:] == 0).all() and (image[:, :, width:] == 0).all() and image[:, :height, :width].any()
            )
            real = sample["boxes"][sample["boxes"][:, 4] >= 0]
            kept = np.delete(given, 1, axis=0) if len(given) > 1 else given  # without the crowd
            assert real[:, 4].tolist() == kept[:4, 4].tolist()
            factors = np.array([width / 128, height / 96] * 2)
            straight = kept[:4, :4] * factors
            turned = straight.copy()
            turned[:, [0, 2]] = width - straight[:, [2, 0]]
            mirrored = not np.allclose(real[:, :4], straight, atol=1e-3)
            assert not mirrored or np.allclose(real[:, :4], turned, atol=1e-3)
            seen.add(mirrored)
            assert torch.equal(sample["frames"][: len(real)], real[:, :4])
            masks = sample["masks"][: len(real)]
            assert (
                (masks[:, 0] == 255).all() and (masks[:, -1] == 1).all() and (sample["masks"][len(real) :] == 0).all()
            )
    assert seen == {True, False}


def test_of_many_instances_some_are_drawn(boxed):
    index, images, path = boxed
    samples = InstanceSamples(index, images, "train", recipe(most=1), 0, path, 56)
    assert {len(samples[0, position]["boxes"]) for position in range(len(samples))} == {1}


# --- configuration and jobs -------------------------------------------------------------------------------------------


def test_how_a_network_is_used_trains_nothing(shipped, raw):
    for key, value in (("finding.score", 0.3), ("finding.count", 7)):
        put(raw, f"instance_networks.mask_rcnn.{key}", value)
        raw["datasets"]["demo"]["overrides"]["instance_networks"]["mask_rcnn"]["finding"].pop(key.split(".")[1], None)
    before, after = (Plan(Config(values)) for values in (shipped, raw))
    assert before.settings("train_instances", DEMO) == after.settings("train_instances", DEMO)
    assert before.settings("detections", DEMO) != after.settings("detections", DEMO)


@pytest.mark.parametrize(
    "key, value, fragments",
    [
        ("instance_networks.mask_rcnn.anchors", [32], ("instance_networks.mask_rcnn", "1 sides for 4 levels")),
        ("instance_networks.mask_rcnn.recipe.short_side", [800, 2000], ("larger than the canvas",)),
        ("instance_systems.truth.network", "large_fov", ("instance_systems.truth.network", "'large_fov'")),
        ("masks.bana_from_voc.dataset", "voca", ("masks.bana_from_voc.dataset", "'voc'")),
        ("masks.bana_agnostic.classifier", "eps", ("masks.bana_agnostic.classifier", "'box_attention'")),
    ],
)
def test_what_does_not_fit_is_refused(raw, key, value, fragments):
    refused(lambda: Config(put(raw, key, value)), *fragments)


def test_a_classifier_of_another_data_set(raw):
    """Its weights are what its own data set has made, and its own data set's block says which network they are of."""
    plan = Plan(Config(put(raw, "datasets.demo.instance_systems", ["bana_from_voc"])))
    names = {"dataset": "demo", "seed": "0", "mask": "bana_from_voc"}
    assert plan.job("masks", names).inputs["classifier"] == "results/voc/seed-0/classifiers/bana.safetensors"
    assert plan.job("masks", names).settings["classifier"]["backbone"]["name"] == "mobilenet_v2"
    jobs = list(plan.jobs("demo", "results/demo/mask_ap.csv"))
    assert ("train_classifier", {"dataset": "voc", "seed": "0", "classifier": "bana"}) in jobs


MADE = {
    "instance_truth", "instances bana", "instances bana_agreement", "instances truth", "masks bana_agreement",
    "precision_instances bana", "precision_instances bana_agreement", "precision_instances truth", "mask_ap",
    *(
        f"{job} {instances}/mask_rcnn"
        for job in ("train_instances", "detections", "precision_detections")
        for instances in ("bana_agreement", "truth")
    ),
}  # fmt: skip


def test_the_graph(tmp_path):
    """Without results: the table needs no map, no saliency and no segmentation network."""
    shared = {"render", "index", "train_classifier cam", "train_classifier bana", "masks bana"}
    assert named(dry_run(copy_sources(tmp_path), "results/demo/mask_ap.csv")) == MADE | shared


RUN = """
import json, sys
from importlib import import_module
from types import SimpleNamespace
from workflow_scripts.run.command import Job
from workflow_scripts.config.planning.plan import Plan
from workflow_scripts.config.resolve import Config

plan, lists = Plan(Config.load("tests/small.yaml")), ("scores", "archives")
made = set(json.loads(sys.argv[1]))
for stage, wildcards in plan.jobs("demo", *sys.argv[2:]):
    if stage in made:
        settings = json.loads(plan.settings(stage, wildcards), object_hook=lambda item: SimpleNamespace(**item))
        inputs = {name: value if name in lists else value or None for name, value in plan.job(stage, wildcards).inputs.items()}
        if stage == "masks" and wildcards["mask"] != "bana_agreement":
            continue
        outputs = SimpleNamespace(**plan.outputs(stage, wildcards))
        stage_module = import_module(f"workflow_scripts.{plan.modules(stage, wildcards)[0]}")
        stage_module.main(Job(settings, SimpleNamespace(**inputs), outputs, 1, "0"))
"""


def test_the_table_of_the_small_demo(clone):
    """Every job of it, in one process, the picture of confidence, and COCO's JSON."""
    more = ("results/demo/pictures/confidence/bana.png", "results/demo/seed-0/coco/bana_agreement.json")
    stages = sorted({job.split()[0] for job in MADE} | {"confidence", "coco_json"})
    done = python(clone, "-c", RUN, json.dumps(stages), "results/demo/mask_ap.csv", *more)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    assert (clone / more[0]).read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    content = json.loads((clone / more[1]).read_text())
    assert len(content["images"]) == 24 and any("unreliable" in item for item in content["annotations"])
    with open(clone / "results/demo/mask_ap.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    found = [(row["system"], row["stage"], row["network"], row["split"], row["images"]) for row in rows]
    assert found == [
        ("bana", "instances", "", "train", "18"),
        ("bana_agreement", "instances", "", "train", "18"),
        ("bana_agreement", "detections", "mask_rcnn", "val", "6"),
        ("truth", "instances", "", "train", "18"),
        ("truth", "detections", "mask_rcnn", "val", "6"),
    ]
    assert rows[3]["ap"] == rows[3]["ap50"] == "100.00" and all(0 <= float(row["ap50"]) <= 100 for row in rows)
