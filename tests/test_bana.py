"""BANA: pooling away from the background, the noise-aware loss, boxes in samples, and the masks made from boxes."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from conftest import refused
from PIL import Image
from torch.nn import functional

from workflow_scripts.data.boxes import background_mask, class_regions, region
from workflow_scripts.data.index import Images, read_index
from workflow_scripts.data.samples.box_samples import BoxSamples
from workflow_scripts.data.samples.canvas import finish
from workflow_scripts.data.samples.cosine_samples import CosineSamples
from workflow_scripts.data.samples.jitter import draw_jitter
from workflow_scripts.data.samples.scaled_crops import PADDING, ScaledCrop
from workflow_scripts.data.transforms import MEAN, STANDARD_DEVIATION, normalise
from workflow_scripts.evaluation.filling_rate import filling_rates
from workflow_scripts.look.plots import violins
from workflow_scripts.methods import bana
from workflow_scripts.networks import tiny
from workflow_scripts.segmentation import cosine

OPTIONS = {
    "pooling": "attention",
    "grid_size": 4,
    "roi_size": 2,
    "align_corners": False,
    "minimum_background": 0.125,
    "initial_deviation": 0.01,
}
RECIPE = SimpleNamespace(
    scale=(0.5, 1.5),
    crop=64,
    augment="worker",
    jitter=SimpleNamespace(brightness=0, contrast=0, saturation=0, hue=0),
)

# --- pooling ----------------------------------------------------------------------------------------------------------


def scene() -> tuple[torch.Tensor, ...]:
    """Features, boxes, their images and the background, as the golden values were made."""
    random = np.random.RandomState(4)
    features = torch.from_numpy(np.abs(random.randn(2, 8, 41, 41)).astype(np.float32))
    boxes = torch.tensor([[-0.5, -0.6, 0.4, 0.3], [0.1, -0.2, 0.9, 0.8], [-0.9, -0.9, 0.95, 0.9]])
    image = torch.tensor([0, 0, 1])
    background = torch.ones(2, 1, 321, 321)
    for (x0, y0, x1, y1), number in zip(boxes.tolist(), image, strict=True):
        background[number, :, int((y0 + 1) * 160) : int((y1 + 1) * 160), int((x0 + 1) * 160) : int((x1 + 1) * 160)] = 0
    return features, boxes, image, background


def test_published_values_of_pooling():
    features, boxes, image, background = scene()
    assert background.mean(dim=(1, 2, 3)).tolist() == pytest.approx([0.6366592, 0.1783368])
    queries, valid = bana.background_queries(features, background, 4)
    assert queries.shape == (2, 16, 8) and valid.sum(dim=1).tolist() == [15, 12]
    assert queries.sum().item() == pytest.approx(173.112442, rel=1e-5)
    pooled = bana.background_aware_pooling(features, boxes, image, background)
    assert pooled.shape == (3, 8, 2, 2) and pooled.sum().item() == pytest.approx(75.807983, rel=1e-5)
    expected = torch.tensor([[0.6989805, 0.7728155], [0.7421823, 0.6889076]])
    torch.testing.assert_close(pooled[0, 0], expected, rtol=1e-5, atol=0)


def test_boxes_stay_in_the_order_given():
    features, boxes, image, background = scene()
    order = [2, 0, 1]
    straight = bana.background_aware_pooling(features, boxes, image, background)
    other = bana.background_aware_pooling(features, boxes[order], image[order], background)
    assert torch.equal(other, straight[order])


def test_without_sure_background_all_positions_weigh_the_same():
    features, boxes, image, background = scene()
    plain = bana.background_aware_pooling(features, boxes, image, background, attention=False)
    nothing = bana.background_aware_pooling(features, boxes, image, torch.zeros_like(background))
    little = bana.background_aware_pooling(features, boxes, image, background, minimum_background=0.2)
    assert torch.equal(nothing, plain) and torch.equal(little[2], plain[2]) and not torch.equal(little[0], plain[0])
    one = bana.background_aware_pooling(features, boxes, image, background, roi_size=1, attention=False)
    assert one.shape == (3, 8, 1, 1)


def test_pooling_is_a_mean_of_the_box():
    """With corners aligned, a box of whole cells holds just these cells; one bin is their mean."""
    features = torch.rand(1, 3, 9, 9)
    box = torch.tensor([[-0.5, 0.0, 0.5, 1.0]])  # cells 2 to 6 and 4 to 8, as four samples from corner to corner
    background = torch.zeros(1, 1, 33, 33)
    pooled = bana.background_aware_pooling(features, box, torch.tensor([0]), background, roi_size=1, align_corners=True)
    grid = torch.stack(torch.meshgrid(torch.linspace(-0.5, 0.5, 4), torch.linspace(0, 1, 4), indexing="xy"), dim=-1)[
        None
    ]
    expected = functional.grid_sample(features, grid, align_corners=True).mean(dim=(2, 3))
    torch.testing.assert_close(pooled[:, :, 0, 0], expected)


@pytest.mark.parametrize("box", [[0.1, 0.1, 0.101, 0.101], [-1, -1, 1, 1], [0.99, -1, 1, 1], [0, 0, 0, 0]])
def test_any_box_has_its_vectors(box):
    features, _, _, background = scene()
    pooled = bana.background_aware_pooling(features, torch.tensor([box]), torch.tensor([0]), background)
    assert pooled.shape == (1, 8, 2, 2) and pooled.isfinite().all() and (pooled >= 0).all()


def test_a_box_inside_one_cell_has_that_cell_s_features_in_each_vector():
    features, _, _, background = scene()
    box = torch.tensor([[0.1, 0.1, 0.101, 0.101]])
    pooled = bana.background_aware_pooling(features, box, torch.tensor([0]), background)
    corner = functional.grid_sample(features[:1], box[:, None, None, :2], align_corners=False)
    torch.testing.assert_close(pooled, corner.expand(1, 8, 2, 2))


def test_no_box_at_all():
    features, _, _, background = scene()
    none = bana.background_aware_pooling(features, torch.zeros(0, 4), torch.zeros(0, dtype=torch.long), background)
    assert none.shape == (0, 8, 2, 2)


def test_attention_is_one_on_the_query_s_own_direction():
    features = torch.tensor([[1.0, 0, 3], [0, 2, 3]])[None, :, None]  # two channels, three cells
    queries, valid = torch.tensor([[[5.0, 0], [7.0, 7.0]]]), torch.tensor([[True, False]])
    attention = bana.background_attention(features, queries, valid)
    torch.testing.assert_close(attention[0, 0, 0], torch.tensor([1.0, 0.0, 0.5**0.5]))
    assert (bana.background_attention(features, queries, torch.zeros_like(valid)) == 0).all()


def test_what_resembles_the_background_counts_less():
    """A box half background, half object: pooling away from the background turns to the object."""
    features = torch.zeros(1, 2, 16, 16)
    features[:, 0] = 1  # background
    features[:, :, 6:10, 6:8] = torch.tensor([0.0, 1.0])[:, None, None]
    background = torch.ones(1, 1, 16, 16)
    background[..., 6:10, 6:10] = 0
    box = torch.tensor([[-0.2, -0.2, 0.2, 0.2]])
    aware, plain = (
        bana.background_aware_pooling(features, box, torch.tensor([0]), background, roi_size=1, attention=attention)
        for attention in (True, False)
    )
    assert (aware[0, 1] > plain[0, 1]).all()
    assert aware[0, 1].item() > 0.7 > plain[0, 1].item()


def test_gradients_of_pooling():
    generator = torch.Generator().manual_seed(0)
    features = (0.2 + torch.rand(2, 3, 7, 7, dtype=torch.float64, generator=generator)).requires_grad_()
    boxes = [[-0.6, -0.5, 0.3, 0.4], [-0.2, -0.3, 0.8, 0.7], [0.1, 0.1, 0.12, 0.12], [-1, -1, 1, 1]]
    boxes, image = torch.tensor(boxes, dtype=torch.float64), torch.tensor([0, 1, 0, 1])
    background = torch.ones(2, 1, 28, 28, dtype=torch.float64)
    background[:, :, 7:21, 7:21] = 0
    assert torch.autograd.gradcheck(
        lambda values: bana.background_aware_pooling(values, boxes, image, background, 2), features
    )
    assert torch.autograd.gradcheck(lambda values: bana.background_queries(values, background, 2)[0], features)


# --- loss -------------------------------------------------------------------------------------------------------------


def labels() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    random = np.random.RandomState(5)
    features = torch.from_numpy(np.maximum(random.randn(2, 16, 11, 11), 0)).float()
    weight = torch.from_numpy(random.randn(21, 16, 1, 1)).float()
    first = random.choice([0, 1, 2, 15, 255], p=[0.5, 0.2, 0.1, 0.1, 0.1], size=(2, 81, 81))
    kept = random.rand(2, 81, 81) < 0.7
    second = np.where(kept, first, random.choice([0, 1, 2], size=(2, 81, 81)))
    cosines = functional.conv2d(functional.normalize(features, dim=1), functional.normalize(weight, dim=1))
    cosines = functional.interpolate(cosines, size=(81, 81), mode="bilinear", align_corners=True)
    return cosines, torch.from_numpy(first), torch.from_numpy(second)


def test_published_values_of_the_loss():
    cosines, first, second = labels()
    differ = (first != 255) & (first != second)
    confidence = bana.confidence(cosines, first.where(first != 255, 0), 7.0)
    assert differ.sum() == 2519 and confidence[differ].mean().item() == pytest.approx(0.540868, rel=1e-5)
    sure = bana.noise_aware_loss(cosines, first, second, balance=0).item()
    assert sure == pytest.approx(3.790613, rel=1e-5)
    assert bana.noise_aware_loss(cosines, first, second).item() == pytest.approx(3.958346, rel=1e-5)
    alone = bana.noise_aware_loss(cosines, first, second, balance=1).item() - sure
    assert alone == pytest.approx(1.677327, rel=1e-5)


def test_where_the_maps_agree_it_is_cross_entropy():
    cosines, first, _ = labels()
    cosines.requires_grad_()
    loss = bana.noise_aware_loss(cosines, first, first)
    expected = functional.cross_entropy(20 * cosines, first, ignore_index=255)
    torch.testing.assert_close(loss, expected)
    (gradient,) = torch.autograd.grad(loss, cosines)
    assert gradient.isfinite().all()


@pytest.mark.parametrize("value", [255, 1])
def test_a_set_without_pixels_counts_nothing(value):
    cosines, first, _ = labels()
    nothing = torch.full_like(first, value)
    loss = bana.noise_aware_loss(cosines, nothing, torch.full_like(first, 2), balance=0)
    assert loss == 0


def test_confidence_is_one_for_the_closest_class_and_gamma_damps():
    cosines, _, _ = labels()
    closest = cosines.argmax(dim=1)
    assert (bana.confidence(cosines, closest, 7.0) == 1).all()
    other = (closest + 1) % 21
    weak, strong = (bana.confidence(cosines, other, gamma) for gamma in (1.0, 7.0))
    assert (0 <= strong).all() and (strong <= weak).all() and (weak <= 1).all()
    # gamma near 0: plain cross entropy where the maps differ
    loss = bana.noise_aware_loss(cosines, other, closest, gamma=1e-9, balance=1.0)
    torch.testing.assert_close(loss, functional.cross_entropy(20 * cosines, other), rtol=1e-5, atol=0)


def test_gradients_of_the_losses():
    generator = torch.Generator().manual_seed(0)
    cosines = (torch.rand(1, 3, 3, 3, dtype=torch.float64, generator=generator) * 1.6 - 0.8).requires_grad_()
    first, second = (torch.randint(0, 3, (1, 3, 3), generator=generator) for _ in range(2))
    first[0, 0, 0] = 255
    for loss, more in (
        (bana.noise_aware_loss, (5.0, 2.0, 0.5)),
        (bana.entropy_regularised_loss, (5.0, 0.5)),
        (bana.bootstrapped_loss, (5.0, 0.5, 0.8)),
    ):
        assert torch.autograd.gradcheck(lambda values, f=loss, m=more: f(values, first, second, *m), cosines)


def test_other_losses_where_the_maps_differ():
    """Entropy counts where they differ; bootstrapping with beta 1 is plain cross entropy there, with 0 the own arg-max."""
    cosines, first, _ = labels()
    first = first.where(first != 255, 0)
    second = (first + 1) % 21
    probability = (20 * cosines).softmax(dim=1)
    entropy = -(probability * probability.log()).sum(dim=1).mean()
    torch.testing.assert_close(bana.entropy_regularised_loss(cosines, first, second, 20.0, 0.5), 0.5 * entropy)
    plain = functional.cross_entropy(20 * cosines, first)
    torch.testing.assert_close(bana.bootstrapped_loss(cosines, first, second, 20.0, 1.0, 1.0), plain)
    own = functional.cross_entropy(20 * cosines, cosines.argmax(dim=1))
    torch.testing.assert_close(bana.bootstrapped_loss(cosines, first, second, 20.0, 1.0, 0.0), own)


# --- boxes and samples ------------------------------------------------------------------------------------------------


def test_pixels_of_a_box():
    assert region(np.array([1.9, 2, 5.2, 7]), 10, 10) == (slice(2, 7), slice(1, 5))
    assert region(np.array([-3, -3, 40, 40]), 10, 12) == (slice(0, 10), slice(0, 12))
    assert region(np.array([4.1, 9.7, 4.6, 10]), 10, 10) == (slice(9, 10), slice(4, 5))  # never empty
    boxes = np.array([[0, 0, 4, 4, 2], [2, 2, 6, 6, 2], [5, 5, 9, 9, 0]], np.float32)
    background = background_mask(boxes, 10, 10)
    regions = class_regions(boxes, np.array([0, 2]), 10, 10)
    assert (background == ~regions.any(axis=0)).all() and regions[1].sum() == 16 + 16 - 4 and regions[0].sum() == 16


def crop_of(size: tuple[int, int], scale: float, seed: int, crop: int = 40) -> ScaledCrop:
    recipe = SimpleNamespace(scale=(scale, scale), crop=crop)
    return ScaledCrop.draw(*size, recipe, np.random.default_rng(seed))


@pytest.mark.parametrize(
    "size, scale", [((60, 80), 1.0), ((20, 30), 1.0), ((20, 90), 1.0), ((30, 30), 1.5), ((60, 60), 0.5)]
)
def test_boxes_follow_the_pixels(size, scale):
    """What a box encloses before augmentation, it encloses after, up to a pixel; what is outside of the crop is dropped."""
    box = np.array([[8, 5, 17, 15, 3]], np.float32)
    marked = np.zeros(size, np.uint8)
    marked[5:15, 8:17] = 7
    seen = set()
    for seed in range(12):
        crop = crop_of(size, scale, seed)
        values, boxes = crop.map(marked, outside=9).numpy(), crop.boxes(box)
        rows, columns = np.nonzero(values == 7)
        seen.add((crop.mirrored, len(boxes)))
        if not len(rows) or not np.ptp(rows) or not np.ptp(columns):  # outside, or at the very edge
            assert not len(boxes) or (boxes[:, 2:4] - boxes[:, :2]).min() <= 2 / 39 + 1e-6
            continue
        assert boxes[0, 4] == 3 and (np.abs(boxes[:, :4]) <= 1).all()
        x0, y0, x1, y1 = (boxes[0, :4] + 1) * 39 / 2
        assert abs(x0 - columns.min()) <= 1 and abs(y0 - rows.min()) <= 1
        assert abs(x1 - columns.max() - 1) <= 1 and abs(y1 - rows.max() - 1) <= 1
    assert {mirrored for mirrored, _ in seen} == {True, False}


def test_a_small_image_lies_in_the_middle():
    crop = crop_of((20, 31), 1.0, 0)
    values = crop.map(np.ones((20, 31), np.uint8), outside=255)
    rows, columns = torch.nonzero((values == 1).any(dim=1)), torch.nonzero((values == 1).any(dim=0))
    assert (rows.min(), rows.max()) == (10, 29)
    assert columns.min() in (4, 5) and columns.max() - columns.min() == 30
    assert (values == 255).sum() == 40 * 40 - 20 * 31


def padded(image: torch.Tensor) -> torch.Tensor:
    """Pixels of a sample that have the colour of what the image does not fill."""
    return torch.isclose(image, normalise(np.full((1, 1, 3), PADDING, np.uint8))).all(dim=0)


@pytest.mark.parametrize("augment", ["worker", "device"])
def test_colours_are_jittered_with_what_is_around_the_image(augment):
    """Published order: scale, pad, crop, mirror, jitter; all bilinear. Contrast is about the mean of the whole crop."""
    photograph = np.random.default_rng(0).integers(0, 256, (20, 30, 3)).astype(np.uint8)
    recipe = SimpleNamespace(scale=(0.8, 0.8), crop=40, augment=augment)
    recipe.jitter = SimpleNamespace(brightness=0, contrast=0.5, saturation=0, hue=0)
    crop = ScaledCrop.draw(20, 30, recipe, np.random.default_rng(1))
    ((_, factor),) = draw_jitter(recipe.jitter, np.random.default_rng(2))
    sample = crop.image(photograph, recipe, np.random.default_rng(2))
    found = finish({name: value[None] for name, value in sample.items()}, torch.device("cpu"))["image"][0]
    expected = np.full((40, 40, 3), PADDING, np.uint8)
    inside = np.asarray(Image.fromarray(photograph).resize((24, 16), Image.BILINEAR))
    rows, columns = crop.placement.canvas
    assert (rows, columns) == (slice(12, 28), slice(8, 32))
    expected[rows, columns] = inside[:, ::-1] if crop.mirrored else inside
    grey = (expected @ [0.2989, 0.587, 0.114]).mean()
    jittered = np.clip(factor * expected + (1 - factor) * grey, 0, 255)
    colours = found.permute(1, 2, 0) * torch.tensor(STANDARD_DEVIATION) + torch.tensor(MEAN)
    np.testing.assert_allclose(colours.numpy() * 255, jittered, atol=1.1)


def test_samples_of_boxes(rendered):
    index = read_index(rendered / "index.h5")
    samples = BoxSamples(index, Images(index, rendered / "images.h5"), "train", RECIPE, 0)
    most = max(len(index.boxes_of(identifier)) for identifier in index.ids)
    for position in range(4):
        sample = samples[0, position]
        assert sample["image"].shape == (3, 64, 64) and sample["boxes"].shape == (most, 5)
        background = sample["background"]
        assert background.shape == (1, 64, 64) and set(background.unique().tolist()) <= {0.0, 1.0}
        padding = padded(sample["image"])
        assert (background[0][padding] == 0).all()  # neither object nor sure background
        for box in sample["boxes"][sample["boxes"][:, 4] >= 0]:
            x0, y0, x1, y1 = ((box[:4] + 1) * 63 / 2).round().int().tolist()
            assert (background[0, y0 + 1 : y1 - 1, x0 + 1 : x1 - 1] == 0).all()
    assert torch.equal(samples[0, 1]["image"], samples[0, 1]["image"])
    assert not torch.equal(samples[0, 1]["image"], samples[1, 1]["image"])


def test_an_object_without_a_box_is_a_mistake(rendered):
    index = read_index(rendered / "index.h5")
    index.labels[index.row[index.ids[2]], :] = 1
    refused(lambda: BoxSamples(index, None, "train", RECIPE, 0), index.ids[2], "no box of")


def test_two_label_maps_are_cut_alike(rendered):
    index = read_index(rendered / "index.h5")
    given = (index, Images(index, rendered / "images.h5"), "train", RECIPE, 0, rendered / "masks.h5")
    sample = CosineSamples(*given)[0, 0]
    assert sample.keys() == {"image", "label"}
    assert (sample["label"][padded(sample["image"])] == 255).all()
    refused(lambda: CosineSamples(*given, ("label", "label_retrieved"))[0, 0], "one label map", "box_unary")


# --- networks ---------------------------------------------------------------------------------------------------------


def classifier(**options) -> bana.Classifier:
    torch.manual_seed(0)
    return bana.Classifier(tiny.Backbone(8), ("a", "b", "c"), SimpleNamespace(**OPTIONS | options))


def batch() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    boxes = torch.full((3, 2, 5), -1.0)
    boxes[0] = torch.tensor([[-0.5, -0.5, 0.5, 0.5, 0], [0, 0, 1, 1, 2]])
    boxes[1, 0] = torch.tensor([-1.0, -1, 1, 1, 1])  # the whole image; the third image has no box
    background = torch.ones(3, 1, 64, 64)
    background[0, :, 16:] = background[1] = 0
    return {"image": torch.randn(3, 3, 64, 64, generator=generator), "boxes": boxes, "background": background}


@pytest.mark.parametrize("pooling", ["attention", "mean"])
def test_one_step_of_the_classifier(pooling):
    network = classifier(pooling=pooling).train()
    losses = network.losses(batch())
    assert losses.keys() == {"boxes_and_background"} and losses["boxes_and_background"].isfinite()
    losses["boxes_and_background"].backward()
    assert all(torch.count_nonzero(row) for row in network.head.weight.grad)
    assert network.new_parameters() == [network.head.weight]
    network.eval()
    with torch.inference_mode():
        assert network.class_logits(batch()["image"]).shape == (3, 3)
        maps, background = network.maps(batch()["image"], torch.ones(3, 3))
    assert maps.shape == (3, 3, 8, 8) and (maps >= 0).all() and background is None


def test_a_batch_without_boxes_and_background():
    nothing = batch() | {"boxes": torch.full((3, 2, 5), -1.0), "background": torch.zeros(3, 1, 64, 64)}
    assert classifier().losses(nothing)["boxes_and_background"] == 0


LOSSES = {
    "cross_entropy": {},
    "noise_aware": {"gamma": 7.0, "balance": 0.1},
    "entropy": {"balance": 0.1},
    "bootstrap": {"balance": 0.1, "beta": 0.8},
}


@pytest.mark.parametrize("rule", LOSSES)
def test_cosine_segmenter(rule):
    options = {"hidden": 8, "dilations": (1, 2), "initial_deviation": None, "dropout": 0.0, "scale": 20.0}
    options |= {"align_corners": True, "loss": SimpleNamespace(rule=rule, **LOSSES[rule])}
    torch.manual_seed(0)
    network = cosine.Segmenter(tiny.Backbone(8), 4, SimpleNamespace(**options)).train()
    images = torch.randn(2, 3, 33, 33)
    found = network.cosines(images)
    assert found.shape == (2, 4, 5, 5) and found.abs().max() <= 1 + 1e-5
    torch.testing.assert_close(network(images), 20 * found)
    label = torch.randint(0, 4, (2, 33, 33))
    given = {"image": images, "label": label, "label_retrieved": (label + 1) % 4}
    (loss,) = network.losses({name: given[name] for name in ("image", *network.label_maps)}).values()
    loss.backward()
    assert loss.isfinite() and all(p.grad is not None and p.grad.isfinite().all() for p in network.new_parameters())


def test_filling_rates():
    label = np.zeros((10, 10), np.uint8)
    label[2:6, 2:4] = 3
    counted = np.ones((10, 10), bool)
    counted[2:6, 4] = False
    boxes = np.array([[2, 2, 6, 6, 2], [2, 2, 6, 6, 1], [0, 0, 10, 10, 2]], np.float32)
    np.testing.assert_allclose(filling_rates(label, boxes, counted), [8 / 12, 0, 8 / 96])
    assert np.isnan(filling_rates(label, boxes, np.zeros_like(counted))).all()


def test_violins_are_the_same_bytes_and_take_any_number_of_values():
    groups = {"cat": {"boxes": [1.0, 1.0], "bana": [0.2, 0.5, 0.9], "none": []}, "dog": {"truth": [0.4]}, "cow": {}}
    picture = violins(groups, "share of a box")
    assert picture.startswith(b"\x89PNG") and picture == violins(groups, "share of a box")
    assert picture != violins(groups | {"dog": {"truth": [0.9, 0.1]}}, "share of a box")
