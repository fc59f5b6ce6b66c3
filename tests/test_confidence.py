"""BANA's confidence as a picture, and masks for classes that its classifier does not know."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from conftest import put, refused
from test_box_masks import BOXES, OPTIONS, SIZE, maps_of, picture
from torch.nn import functional

from workflow_scripts import segmentation
from workflow_scripts.config.planning.plan import Plan
from workflow_scripts.config.resolve import Config
from workflow_scripts.data.boxes import background_mask
from workflow_scripts.data.checkpoints.weights import save_weights
from workflow_scripts.methods import bana
from workflow_scripts.networks import tiny
from workflow_scripts.refine import box_attention_mask
from workflow_scripts.stages import confidence as stage

# --- confidence -------------------------------------------------------------------------------------------------------

BACKBONE = SimpleNamespace(name="tiny", stride=8, batch_norm="trained", frozen_stages=0)
LOSS = SimpleNamespace(rule="noise_aware", gamma=7.0, balance=0.1)
SEGMENTER = SimpleNamespace(
    network="cosine", backbone=BACKBONE, hidden=16, dilations=(1,), initial_deviation=None, dropout=0.5, scale=20,
    align_corners=True, loss=LOSS,
)  # fmt: skip


def test_steps_of_the_picture():
    assert stage.shown_steps(45) == [0, 11, 22, 34, 45] and stage.shown_steps(2) == [0, 1, 2]


def test_confidence_is_one_for_the_closest_class_and_none_where_a_label_is_ignored():
    torch.manual_seed(0)
    network = segmentation.build(SEGMENTER, 4)
    label = np.ones(SIZE, np.uint8)
    label[:4] = 255
    first = stage.confidence(network, picture(), label)
    assert network.training and first.shape == SIZE  # left as it was
    assert (first[:4] == 0).all() and (0 < first[4:]).all() and (first <= 1).all()
    every = np.stack([stage.confidence(network, picture(), np.full(SIZE, k, np.uint8)) for k in range(4)])
    assert (every.max(axis=0) == 1).all() and (every[1][4:] == first[4:]).all()


def test_only_a_training_with_the_noise_aware_loss_has_confidence(raw):
    plan = Plan(Config(put(raw, "datasets.demo.systems", ["bana", "eps", "bana_plain"])))
    job = plan.job("confidence", {"dataset": "demo", "system": "bana"})
    training = plan.job("train_segmenter", {"dataset": "demo", "seed": "0", "mask": "bana", "segmenter": "bana"})
    assert job.inputs == training.inputs | {"truth": "results/demo/truth.h5"} and job.modules == training.modules
    for system in ("eps", "bana_plain"):
        refused(
            lambda s=system: plan.job("confidence", {"dataset": "demo", "system": s}),
            f"systems.{system}",
            "noise_aware",
        )


# --- classes that the classifier does not know ------------------------------------------------------------------------

UNKNOWN = BOXES + np.array([0, 0, 0, 0, 40], np.float32)  # the classifier below has three classes


@pytest.fixture(scope="module")
def rule(tmp_path_factory):
    torch.manual_seed(0)
    weights = tmp_path_factory.mktemp("weights") / "bana.safetensors"
    options = SimpleNamespace(initial_deviation=0.1)
    save_weights(bana.Classifier(tiny.Backbone(8), ("a", "b", "c"), options), weights)
    return box_attention_mask.load(SimpleNamespace(**OPTIONS), SimpleNamespace(backbone=BACKBONE), str(weights))


@pytest.mark.parametrize(
    "boxes",
    [
        UNKNOWN,
        np.zeros((0, 5), np.float32),
        np.array([[0, 0, 52, 40, 77]], np.float32),
        np.array([[5, 5, 6, 6, 1]], np.float32),
    ],
    ids=["several", "none", "whole image", "one cell"],
)
def test_each_box_gives_its_class(rule, boxes):
    maps = maps_of(boxes, source=f"{boxes}")
    probabilities = rule.probabilities(maps)
    inside = background_mask(boxes, *SIZE) == 0
    assert probabilities.shape == (1 + bool(len(boxes)), *SIZE) and np.isfinite(probabilities).all()
    assert (probabilities[0][~inside] == 1).all()
    for label in rule.labels(maps, probabilities).values():
        assert label.dtype == np.uint8 and label.shape == SIZE and (label[~inside] == 0).all()
        assert set(np.unique(label)) <= {0, *(boxes[:, 4].astype(int) + 1)}


def test_what_does_not_resemble_the_background_is_object(tmp_path):
    """1 - u_0 stands for all class maps: the attention to the mean of what is outside the boxes, below its threshold 0."""
    torch.manual_seed(1)
    save_weights(
        bana.Classifier(tiny.Backbone(8), ("a", "b", "c"), SimpleNamespace(initial_deviation=0.1)),
        tmp_path / "w.safetensors",
    )
    plain = SimpleNamespace(**OPTIONS | {"softmax": False, "threshold": 0.9})
    rule = box_attention_mask.load(plain, SimpleNamespace(backbone=BACKBONE), str(tmp_path / "w.safetensors"))
    maps = maps_of(UNKNOWN, source="direct")
    background, objects = rule.probabilities(maps)
    features = rule.probabilities.__self__._features(maps).features
    full = functional.interpolate(features[None], size=SIZE, mode="bilinear", align_corners=True)[0]
    outside = torch.from_numpy(background_mask(UNKNOWN, *SIZE) == 1)
    attention = torch.cosine_similarity(full, full[:, outside].mean(dim=1)[:, None, None], dim=0).relu()
    attention[attention < 0.9 * attention.max()] = 0
    expected = torch.where(outside, 1, attention)
    np.testing.assert_allclose(background, expected, atol=1e-5)
    np.testing.assert_allclose(objects, 1 - expected, atol=1e-5)
    assert 0 < (attention[~outside] > 0).float().mean() < 1


def test_smaller_boxes_give_the_class_where_they_overlap(rule):
    """All of the boxes is object where the posterior says so."""
    maps = maps_of(UNKNOWN, source="overlap")
    sure = np.stack([np.zeros(SIZE), np.ones(SIZE)]).astype(np.float32)
    label = rule.labels(maps, sure)["label"]
    assert label[26, 25] == 43 and label[16, 40] == 41 and label[7, 5] == 43
    assert ((label > 0) == (background_mask(UNKNOWN, *SIZE) == 0)).all()


def test_without_sure_background_the_boxes_are_filled(rule):
    maps = maps_of(np.array([[0, 0, 52, 40, 77]], np.float32), source="all")
    assert (rule.labels(maps, rule.probabilities(maps))["label"] == 78).all()
