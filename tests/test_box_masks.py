"""Masks made from boxes, and masks made from these: BANA's two label maps, filled boxes, GrabCut, a dense CRF's start."""

import json
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from conftest import SOURCES, environment, put, refused
from torch.nn import functional

from workflow_scripts.config.planning.plan import Plan
from workflow_scripts.config.resolve import Config
from workflow_scripts.data.boxes import class_regions, region
from workflow_scripts.data.checkpoints.weights import save_weights
from workflow_scripts.methods import bana
from workflow_scripts.networks import tiny
from workflow_scripts.refine import box_crf_mask, box_unary, box_unary_mask, boxes_mask, grabcut_mask
from workflow_scripts.refine.background import Maps
from workflow_scripts.refine.boxes import crf_start, grabcut
from workflow_scripts.stages import masks as stage

BOXES = np.array([[4, 6, 30, 28, 2], [20, 14, 44, 36, 0], [8, 20, 26, 34, 2]], np.float32)
CLASSES = np.array([0, 2])
SIZE = (40, 52)

# --- kernels against the direct computation ---------------------------------------------------------------------------


def direct(features: torch.Tensor, weights: torch.Tensor, regions: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """BANA's unary and retrieval on up-sampled features, as its code has them; labels of the unary stand for the CRF's."""
    full = functional.interpolate(features[None], size=SIZE, mode="bilinear", align_corners=True)[0]
    inside = regions.any(dim=0)
    query = full[:, ~inside].mean(dim=1)
    attention = torch.cosine_similarity(full, query[:, None, None], dim=0).relu()
    attention[attention < 0.99 * attention.max()] = 0
    unary = torch.zeros(len(weights), *SIZE)
    unary[0] = torch.where(inside, attention, 1)
    maps = torch.einsum("qd,dhw->qhw", weights, full).relu()
    for box in BOXES:
        row, where = int(np.flatnonzero(CLASSES == int(box[4]))[0]) + 1, region(box, *SIZE)
        unary[row][where] = maps[row][where] / (maps[row][where].max() + 1e-12)
    unary = torch.where(inside, unary.softmax(dim=0), unary)
    label = unary.argmax(dim=0)
    prototypes = [full[:, label == k].mean(dim=1) if (label == k).any() else weights[k] for k in range(len(weights))]
    cosines = torch.stack([torch.cosine_similarity(full, q[:, None, None], dim=0).relu() for q in prototypes])
    cosines[0] = torch.where(inside, cosines[0], 1)
    cosines[1:] *= regions
    return full, unary, label, cosines.argmax(dim=0)


@pytest.mark.parametrize("seed", range(4))
def test_labels_are_those_of_up_sampled_features(seed):
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(24, 6, 7, generator=generator).relu()
    weights = torch.randn(3, 24, generator=generator)
    regions = torch.from_numpy(class_regions(BOXES, CLASSES, *SIZE))
    full, expected, label, second = direct(features, weights, regions)
    given = box_unary.Upsampled(features, *SIZE, align_corners=True)
    torch.testing.assert_close(given.lengths, full.norm(dim=0))
    torch.testing.assert_close(given.means(regions), torch.stack([full[:, r].mean(dim=1) for r in regions]))
    boxes = [(int(np.flatnonzero(CLASSES == int(box[4]))[0]), *region(box, *SIZE)) for box in BOXES]
    found = box_unary.box_unary(given, weights, regions, boxes)
    torch.testing.assert_close(found, expected)
    assert torch.equal(found.argmax(dim=0), label)
    assert torch.equal(box_unary.retrieved(given, weights, label, regions), second)


def test_lengths_without_aligned_corners():
    features = torch.rand(5, 4, 6)
    full = functional.interpolate(features[None], size=(33, 29), mode="bilinear", align_corners=False)[0]
    given = box_unary.Upsampled(features, 33, 29, align_corners=False)
    torch.testing.assert_close(given.lengths, full.norm(dim=0))
    torch.testing.assert_close(given.products(torch.eye(5)), full)


def test_the_queries_of_a_grid_are_averaged():
    features = torch.rand(5, 8, 8)
    given = box_unary.Upsampled(features, 16, 16, align_corners=False)
    background = torch.zeros(16, 16, dtype=torch.bool)
    background[:8, :8] = background[8:, 8:] = True
    attention = box_unary.background_attention(given, background, grid_size=2)
    parts = torch.stack([background & (torch.arange(16) < 8), background & (torch.arange(16) >= 8)])
    expected = given.cosines(given.means(parts)).mean(dim=0)
    torch.testing.assert_close(attention, expected)
    assert (attention <= 1).all() and (attention >= 0).all()


def test_variants_of_the_unary():
    """The paper's and the published code's; outside the boxes background is sure in all."""
    features, weights = torch.rand(6, 5, 6), torch.rand(3, 6)
    regions = torch.from_numpy(class_regions(BOXES, CLASSES, *SIZE))
    given = box_unary.Upsampled(features, *SIZE, align_corners=True)
    boxes = [(int(np.flatnonzero(CLASSES == int(box[4]))[0]), *region(box, *SIZE)) for box in BOXES]
    inside = regions.any(dim=0)
    for changes in ({}, {"background": "cam"}, {"threshold_of": "one"}, {"normalised": "image"}, {"softmax": False}):
        unary = box_unary.box_unary(given, weights, regions, boxes, **changes)
        assert unary.shape == (3, *SIZE) and (unary >= 0).all() and (unary <= 1 + 1e-6).all()
        assert (unary[0][~inside] == 1).all() and (unary[1:, ~inside] == 0).all()
    raw = box_unary.box_unary(given, weights, regions, boxes, softmax=False, normalised="image")
    maps = given.products(weights).clamp(min=0)
    torch.testing.assert_close(raw[1], maps[1] / maps[1].max() * regions[0])
    assert (raw[0][inside] == 0).any()  # below the threshold


def test_an_image_without_sure_background_takes_the_map_of_the_background():
    features, weights = torch.rand(6, 5, 6), torch.rand(2, 6)
    given = box_unary.Upsampled(features, *SIZE, align_corners=True)
    regions = torch.ones(1, *SIZE, dtype=torch.bool)
    boxes = [(0, slice(0, SIZE[0]), slice(0, SIZE[1]))]
    assert box_unary.background_attention(given, ~regions[0]) is None
    by_attention, by_map = (box_unary.box_unary(given, weights, regions, boxes, name) for name in ("attention", "cam"))
    maps = torch.stack([given.products(weights)[row].relu() for row in (0, 1)])
    expected = torch.stack([each / each.max() for each in maps]).softmax(dim=0)  # of the one box, the whole image
    torch.testing.assert_close(by_map, expected)
    assert torch.equal(by_attention, by_map)


def test_overlapping_boxes_of_one_class():
    """Each box has its own maximum; the later one holds where they overlap."""
    given = box_unary.Upsampled(torch.rand(4, 6, 6), 12, 12, align_corners=True)
    boxes = [(0, slice(0, 8), slice(0, 8)), (0, slice(4, 12), slice(4, 12))]
    regions = torch.zeros(1, 12, 12, dtype=torch.bool)
    for _, rows, columns in boxes:
        regions[0, rows, columns] = True
    weights = torch.rand(2, 4)
    unary = box_unary.box_unary(given, weights, regions, boxes, softmax=False)[1]
    raw = given.products(weights[1:])[0]
    torch.testing.assert_close(unary[4:, 4:], raw[4:, 4:] / raw[4:, 4:].max())
    torch.testing.assert_close(unary[:4, :8], raw[:4, :8] / raw[:8, :8].max())


# --- rules ------------------------------------------------------------------------------------------------------------


def picture() -> np.ndarray:
    """A bright disc on a dark, noisy ground."""
    rows, columns = np.mgrid[:40, :52]
    image = np.random.default_rng(0).integers(20, 60, (40, 52, 3), dtype=np.uint8)
    image[(rows - 20) ** 2 + (columns - 25) ** 2 < 100] = 210
    return image


def maps_of(boxes: np.ndarray, image: np.ndarray | None = None, source: str = "x") -> Maps:
    classes = np.unique(boxes[:, 4]).astype(np.int16)
    return Maps(classes, None, None, lambda: picture() if image is None else image, source, boxes=boxes)


def label_by(rule, maps: Maps) -> np.ndarray:
    return rule.labels(maps, rule.probabilities(maps))["label"]


def test_filled_boxes_have_the_smaller_ones_in_front():
    boxes = np.array([[10, 10, 14, 14, 3], [2, 2, 30, 30, 1], [8, 8, 20, 20, 0]], np.float32)
    label = label_by(boxes_mask.load(None, None, None), maps_of(boxes))
    assert label[12, 12] == 4 and label[9, 9] == 1 and label[3, 3] == 2 and label[0, 0] == 0
    assert [int((label == value).sum()) for value in (4, 1, 2)] == [16, 144 - 16, 784 - 144]


def test_grabcut_finds_the_object():
    box = np.array([[13, 8, 37, 32, 1]], np.float32)
    label = label_by(grabcut_mask.load(SimpleNamespace(iterations=5), None, None), maps_of(box))
    rows, columns = np.mgrid[:40, :52]
    disc = (rows - 20) ** 2 + (columns - 25) ** 2 < 100
    assert ((label == 2) & disc).sum() / ((label == 2) | disc).sum() > 0.95
    again = label_by(grabcut_mask.load(SimpleNamespace(iterations=5), None, None), maps_of(box))
    assert (label == again).all()


@pytest.mark.parametrize("box", [[0, 0, 52, 40, 1], [5, 5, 6, 6, 1]])
def test_grabcut_without_anything_to_learn_from_fills_the_box(box):
    found = grabcut(picture(), np.array(box, np.float32), 3)
    assert (found == class_regions(np.array([box], np.float32), np.array([1]), 40, 52)[0]).all()


def test_the_start_of_a_crf_is_sure_outside_and_in_the_middle():
    box = np.array([[10, 10, 30, 30, 1]], np.float32)
    scores = crf_start(box, np.array([1]), 40, 52, core=0.25)
    np.testing.assert_allclose(scores.sum(axis=0), 1)
    assert (scores[1] == 1).sum() == 100 and (scores[1] == 0.5).sum() == 300 and (scores[0, :10] == 1).all()
    rule = box_crf_mask.load(SimpleNamespace(core=0.25), None, None)
    posterior = np.stack([np.full((40, 52), 0.1), np.full((40, 52), 0.9)])
    assert (rule.labels(maps_of(box), posterior)["label"] == 2).sum() == 400  # never outside its box


OPTIONS = {
    "background": "attention",
    "grid_size": 1,
    "threshold": 0.99,
    "threshold_of": "maximum",
    "normalised": "box",
    "softmax": True,
    "retrieval_in_boxes": True,
    "align_corners": True,
    "precision": "float32",
}


@pytest.fixture(scope="module")
def rule(tmp_path_factory):
    torch.manual_seed(0)
    about = {"initial_deviation": 0.1}
    weights = tmp_path_factory.mktemp("weights") / "bana.safetensors"
    save_weights(bana.Classifier(tiny.Backbone(8), ("a", "b", "c"), SimpleNamespace(**about)), weights)
    backbone = SimpleNamespace(name="tiny", stride=8, batch_norm="trained", frozen_stages=0)
    return box_unary_mask.load(SimpleNamespace(**OPTIONS), SimpleNamespace(backbone=backbone), str(weights))


@pytest.mark.parametrize(
    "boxes",
    [
        BOXES,
        BOXES[:1],
        np.zeros((0, 5), np.float32),
        np.array([[0, 0, 52, 40, 1]], np.float32),
        np.array([[5, 5, 6, 6, 1], [50, 38, 52, 40, 1]], np.float32),
    ],
    ids=["several", "one", "none", "whole image", "tiny"],
)
def test_both_label_maps_stay_in_their_boxes(rule, boxes):
    maps = maps_of(boxes, source=f"{boxes}")
    probabilities = rule.probabilities(maps)
    assert probabilities.shape == (len(maps.classes) + 1, *SIZE) and np.isfinite(probabilities).all()
    found = rule.labels(maps, probabilities)
    assert found.keys() == {"label", "label_retrieved"}
    regions = class_regions(boxes, maps.classes, *SIZE)
    for label in found.values():
        assert label.dtype == np.uint8 and label.shape == SIZE
        for value in np.setdiff1d(label, [0]):
            assert (regions[maps.classes == value - 1][0][label == value]).all()


MEMORY = """
import sys
from types import SimpleNamespace

import numpy as np, torch
from torch.nn import functional
from workflow_scripts import networks
from workflow_scripts.data.boxes import class_regions, region
from workflow_scripts.data.checkpoints.weights import save_weights
from workflow_scripts.methods import bana
from workflow_scripts.store.provenance import own_peak
from workflow_scripts.refine import box_unary_mask
from workflow_scripts.refine.background import Maps
from workflow_scripts.refine.dense_crf import dense_crf

torch.set_num_threads(1)
torch.manual_seed(0)
block, size = SimpleNamespace(**OPTIONS), (375, 500)
backbone = dict(name="vgg16", stride=8, form="large_fov", fc6_dilation=1, colours="caffe", batch_norm=None, frozen_stages=0)
network = bana.Classifier(networks.build(**backbone), tuple("abc"), SimpleNamespace(initial_deviation=0.1))
save_weights(network, sys.argv[1])
del network
boxes = np.array([[40, 50, 300, 350, 0], [200, 100, 480, 300, 1], [10, 10, 90, 90, 2]], np.float32)
rows, columns = np.mgrid[: size[0], : size[1]]
image = np.stack([rows // 2, columns // 2, (rows + columns) // 4], axis=-1).astype(np.uint8)
for number, (x0, y0, x1, y1, _) in enumerate(boxes.astype(int)):
    image[y0 + 20 : y1 - 20, x0 + 20 : x1 - 20] = np.random.default_rng(number).integers(0, 256, 3)

rule = box_unary_mask.load(block, SimpleNamespace(backbone=SimpleNamespace(**backbone)), sys.argv[1])
maps = Maps(np.arange(3, dtype=np.int16), None, None, lambda: image, "x", boxes=boxes)
unary = rule.probabilities(maps)
posterior = dense_crf(image, unary, (55, 3, 4), (3, 3), 10)
found = rule.labels(maps, posterior)
print(own_peak())

# The direct computation, of some rows of the up-sampled features after the others.
method = rule.probabilities.__self__
features, weights = method._features(maps).features, method._weights(maps)
wide = functional.interpolate(features[None], size=(features.shape[1], size[1]), mode="bilinear", align_corners=True)[0]
regions = torch.from_numpy(class_regions(boxes, np.arange(3), *size))
inside = regions.any(dim=0)

def parts():
    for start in range(0, size[0], 25):
        place = torch.arange(start, start + 25) * ((features.shape[1] - 1) / (size[0] - 1))
        low = place.long().clamp(max=features.shape[1] - 2)
        share = (place - low)[None, :, None]
        yield slice(start, start + 25), wide[:, low] * (1 - share) + wide[:, low + 1] * share

def mean(mask):
    return sum((part * mask[rows]).sum(dim=(1, 2)) for rows, part in parts()) / mask.sum()

def cosines(vectors):
    return torch.cat([functional.cosine_similarity(part[None], vectors[..., None, None], dim=1) for _, part in parts()], dim=1)

attention = cosines(mean(~inside)[None])[0].relu()
attention[attention < 0.99 * attention.max()] = 0
raw = torch.cat([torch.einsum("qd,dhw->qhw", weights, part).relu() for _, part in parts()], dim=1)
direct = torch.zeros(4, *size)
direct[0] = torch.where(inside, attention, 1)
for box in boxes:
    where = int(box[4]) + 1, *region(box, *size)
    direct[where] = raw[where] / (raw[where].max() + 1e-12)
direct = torch.where(inside, direct.softmax(dim=0), direct)
crf = torch.from_numpy(dense_crf(image, direct.numpy(), (55, 3, 4), (3, 3), 10))
crf[1:] *= regions
label = crf.argmax(dim=0)
prototypes = torch.stack([mean(label == k) if (label == k).any() else weights[k] for k in range(4)])
likeness = cosines(prototypes).relu()
likeness[0] = torch.where(inside, likeness[0], 1)
likeness[1:] *= regions
for name, expected in (("label", label), ("label_retrieved", likeness.argmax(dim=0))):
    print((found[name] != expected.numpy()).sum(), len(np.unique(found[name])))
"""


def test_memory_of_a_photograph_and_the_labels_of_the_direct_computation(tmp_path):
    """The whole rule on VGG16, 1,024 channels, with its dense CRF on 375 x 500 pixels: at most 1.5 GiB. Up-sampled, the features take
    0.7 GiB a copy.
    """
    code = MEMORY.replace("**OPTIONS", f"**{OPTIONS}")
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "bana.safetensors"],
        cwd=SOURCES, env=environment(), capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    peak, *counts = done.stdout.splitlines()
    assert int(peak) < 1.5 * 2**30
    for line in counts:
        different, values = map(int, line.split())
        assert different <= 20 and values >= 3  # of 187,500 pixels; rounding decides between equals


# --- masks from masks -------------------------------------------------------------------------------------------------


class Stored:
    """An artifact of one image."""

    def __init__(self, **arrays):
        self.arrays = arrays

    def read(self, identifier):
        return self.arrays


def test_a_choice_of_two_label_maps():
    first, second, true = (np.array([values], np.uint8) for values in ([0, 1, 2, 1], [0, 2, 2, 0], [1, 1, 255, 0]))
    both = Stored(label=first, label_retrieved=second)
    found = {
        name: stage.masks_of(stage.State(None, masks=both, chosen=name), "a")["label"].tolist()
        for name in ("label_retrieved", "agreement")
    }
    assert found == {"label_retrieved": [[0, 2, 2, 0]], "agreement": [[0, 255, 2, 255]]}
    state = stage.State(None, masks=both, truth=Stored(label=true), true_ids=frozenset({"a"}))
    assert {name: label.tolist() for name, label in stage.masks_of(state, "a").items()} == {
        "label": true.tolist(),
        "label_retrieved": true.tolist(),
    }
    assert stage.masks_of(state, "b") == both.arrays


# --- configuration ----------------------------------------------------------------------------------------------------


def test_masks_from_masks_ask_for_what_they_are_made_from(raw):
    raw = put(raw, "datasets.demo.systems", ["bana_agreement", "bana_partly_true"])
    plan = Plan(Config(raw))
    names = {"dataset": "demo", "seed": "0"}
    chosen = plan.job("masks", {**names, "mask": "bana_agreement"})
    assert chosen.inputs["masks"] == "results/demo/seed-0/masks/bana.h5" and not chosen.inputs["truth"]
    partly = plan.job("masks", {**names, "mask": "bana_partly_true"})
    assert partly.inputs["truth"] == "results/demo/truth.h5"
    # the first masks are made for what the others need, and truth only for the split that says so
    assert json.loads(plan.settings("masks", {**names, "mask": "bana"}))["splits"] == ["all_train", "train"]
    assert set(json.loads(plan.settings("truth", names))["splits"]) == {"affinity", "thresholds", "train", "val"}
    stages = {stage for stage, _ in plan.jobs("demo")}
    assert "filling_rates" in stages and "cams" not in stages
    rows = [row for row in plan.job("miou", names).settings["rows"] if row["system"] == "bana_agreement"]
    assert [row["stage"] for row in rows][:2] == ["mask", "mask_labelled"]


@pytest.mark.parametrize(
    "key, value, fragments",
    [
        ("masks.bana.classifier", "cam", ("masks.bana.classifier", "learns from boxes, which 'cam'", "bana")),
        ("masks.bana_agreement.mask", "eps", ("masks.bana_agreement.mask", "two label maps")),
        (
            "masks.bana_partly_true.mask",
            "bana_agreement",
            ("masks.bana_partly_true.mask", "rule 'chosen' of 'bana_agreement'"),
        ),
        ("segmenters.bana.dilations", [], ("segmenters.bana", "go together")),
    ],
)
def test_what_does_not_fit_is_refused(raw, key, value, fragments):
    refused(lambda: Config(put(raw, key, value)), *fragments)
