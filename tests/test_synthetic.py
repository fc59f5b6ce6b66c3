"""The rendered data set: determinism, agreement of its truths, and that it stages what it says it stages."""

import hashlib
import os
import subprocess
import sys

import numpy as np
import pytest
from scipy.ndimage import binary_dilation

from workflow_scripts.data.synthetic import synthetic_objects, synthetic_salient
from workflow_scripts.data.synthetic.synthetic import (
    CLASSES,
    CONTEXTS,
    LABEL_SHARES,
    MINIMUM_VISIBLE,
    render_scene,
)
from workflow_scripts.data.synthetic.synthetic_salient import render_salient

SHAPE = (96, 128)


@pytest.fixture(scope="module")
def scenes():
    return [render_scene(0, "train", number) for number in range(240)]


@pytest.fixture(scope="module")
def salient():
    return [render_salient(0, number) for number in range(60)]


def _same(one, other):
    arrays = ("image", "mask", "instances", "context", "boxes")
    return one.labels == other.labels and all(
        getattr(one, name).tobytes() == getattr(other, name).tobytes() for name in arrays
    )


def test_scene_depends_on_its_arguments_only(scenes):
    for number in (0, 17, 239):  # rendered alone and out of order
        assert _same(render_scene(0, "train", number), scenes[number])
    assert len({scene.image.tobytes() for scene in scenes}) == len(scenes)
    for seed, split in ((1, "train"), (0, "val")):
        assert render_scene(seed, split, 0).image.tobytes() != scenes[0].image.tobytes()


def test_renderings_are_equal_in_another_process(scenes, salient):
    code = (
        "import hashlib; from workflow_scripts.data.synthetic.synthetic import render_scene; "
        "from workflow_scripts.data.synthetic.synthetic_salient import render_salient; "
        "print(hashlib.sha256(render_scene(0, 'train', 3).image.tobytes() + render_salient(0, 3)[0].tobytes())"
        ".hexdigest())"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "PYTHONHASHSEED": "7"}
    digest = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, env=environment)
    here = hashlib.sha256(scenes[3].image.tobytes() + salient[3][0].tobytes()).hexdigest()
    assert digest.stdout.strip() == here


def test_scene_shapes_and_types(scenes):
    for scene in scenes:
        assert scene.image.shape == (*SHAPE, 3) and scene.image.dtype == np.uint8
        for truth in (scene.mask, scene.instances, scene.context):
            assert truth.shape == SHAPE and truth.dtype == np.uint8
        assert scene.boxes.dtype == np.float32 and scene.boxes.shape == (scene.instances.max(), 5)


def test_labels_are_the_classes_of_the_mask(scenes):
    for scene in scenes:
        assert len(scene.labels) >= 1
        assert scene.labels == tuple(value - 1 for value in np.unique(scene.mask).tolist() if value not in (0, 255))
        assert set(scene.labels) == set(scene.boxes[:, 4].astype(int))


def test_boxes_are_tight_around_visible_instances(scenes):
    for scene in scenes:
        for index, (x0, y0, x1, y1, class_index) in enumerate(scene.boxes.astype(int), start=1):
            pixels = scene.instances == index
            assert pixels.sum() >= MINIMUM_VISIBLE
            assert set(scene.mask[pixels]) == {class_index + 1}
            inside = pixels[y0:y1, x0:x1]
            assert inside.sum() == pixels.sum()
            assert inside[0].any() and inside[-1].any() and inside[:, 0].any() and inside[:, -1].any()


def test_void_is_a_one_pixel_border_outside_the_objects(scenes):
    for scene in scenes:
        ring = binary_dilation(scene.instances > 0, np.ones((3, 3))) & (scene.instances == 0)
        assert np.array_equal(scene.mask == 255, ring)


def test_context_occurs_only_with_its_class_and_never_on_objects(scenes):
    for value, kind in enumerate(CONTEXTS, start=1):
        class_index = CLASSES.index(kind.class_name)
        with_class = [scene for scene in scenes if class_index in scene.labels]
        showing = [scene for scene in scenes if (scene.context == value).any()]
        assert all(class_index in scene.labels for scene in showing)
        assert 0.7 < len(showing) / len(with_class) < 0.98  # a strong cue, yet not a certain one
    assert all(not scene.context[scene.instances > 0].any() for scene in scenes)
    assert max(scene.context.max() for scene in scenes) == len(CONTEXTS)


def test_classes_are_frequent_and_images_carry_one_to_three(scenes):
    frequency = np.mean([[index in scene.labels for index in range(len(CLASSES))] for scene in scenes], axis=0)
    assert (frequency > 0.15).all()
    numbers = np.bincount([len(scene.labels) for scene in scenes], minlength=4) / len(scenes)
    assert numbers[0] == 0 and len(numbers) == 4
    assert np.allclose(numbers[1:], LABEL_SHARES, atol=0.1)


def test_sizes_include_small_and_large_objects(scenes):
    areas = np.concatenate([np.bincount(scene.instances.ravel())[1:] for scene in scenes])
    assert 0.12 < (areas < 150).mean() < 0.35  # about 1 % of the image
    assert (areas > 1000).mean() > 0.2
    assert any(len(scene.boxes) > len(scene.labels) for scene in scenes)  # several objects of one class


def test_classes_of_a_family_differ_in_small_parts_only():
    """Drawn with equal random numbers, two classes of a family share most of their pixels."""

    def layers(family, name):
        surface = synthetic_objects.Surface((120, 90, 60), 64, 80, 70)
        synthetic_objects.SHAPES[family](surface, np.random.default_rng(5), name, np.array([120, 90, 60], np.float32))
        colour, alpha, _ = surface.layers()
        return colour, alpha > 0.5

    (cat, cat_alpha), (dog, dog_alpha) = layers("animal", "cat"), layers("animal", "dog")
    differing = (cat_alpha ^ dog_alpha) | ((np.abs(cat - dog).max(2) > 8) & cat_alpha & dog_alpha)
    assert 0.01 < differing.sum() / (cat_alpha | dog_alpha).sum() < 0.35
    bus_alpha, train_alpha = layers("vehicle", "bus")[1], layers("vehicle", "train")[1]
    assert 0.01 < (bus_alpha ^ train_alpha).sum() / (bus_alpha | train_alpha).sum() < 0.35


def test_colour_alone_does_not_separate_objects(scenes):
    """The best rule that looks at one pixel's colour finds well under half of the objects' area."""
    colours = np.concatenate([(scene.image // 32).reshape(-1, 3) for scene in scenes]).astype(int)
    truth = np.concatenate([scene.instances.ravel() > 0 for scene in scenes])
    key = colours @ (64, 8, 1)
    count, hits = np.bincount(key, minlength=512), np.bincount(key, truth, minlength=512)
    share = (hits / np.maximum(count, 1))[key]
    best = max((truth & (share > cut)).sum() / (truth | (share > cut)).sum() for cut in np.linspace(0.05, 0.6, 12))
    assert best < 0.45


def test_salient_depends_on_its_arguments_only(salient):
    image, mask = render_salient(0, 41)
    assert np.array_equal(image, salient[41][0]) and np.array_equal(mask, salient[41][1])
    assert len({image.tobytes() for image, _ in salient}) == len(salient)
    assert render_salient(1, 0)[0].tobytes() != salient[0][0].tobytes()


def test_salient_masks_are_binary_and_of_varied_size(salient):
    for image, mask in salient:
        assert image.shape == (*SHAPE, 3) and image.dtype == np.uint8
        assert mask.shape == SHAPE and mask.dtype == np.uint8 and set(np.unique(mask)) == {0, 1}
    shares = np.array([mask.mean() for _, mask in salient])
    assert shares.min() < 0.05 and shares.max() > 0.25 and shares.max() < 0.9


def test_salient_objects_stand_out(salient):
    contrasts = []
    for image, mask in salient:
        inside = mask > 0
        around = binary_dilation(inside, iterations=6) & ~binary_dilation(inside, iterations=2)
        contrasts.append(np.abs(image[inside].mean(0) - image[around].mean(0)).mean())
    assert np.median(contrasts) > 35


def test_registries_of_scenes_and_salient_set_share_nothing():
    for registry in ("SHAPES", "TEXTURES"):
        scenes, salient = getattr(synthetic_objects, registry), getattr(synthetic_salient, registry)
        assert scenes and salient
        assert not set(scenes) & set(salient)
        assert not set(scenes.values()) & set(salient.values())
    assert not set(synthetic_objects.PALETTES) & set(synthetic_salient.PALETTES)
    scenes, salient = (
        {colour for palette in module.PALETTES.values() for colour in palette}
        for module in (synthetic_objects, synthetic_salient)
    )
    assert not scenes & salient
