"""Pictures, plots, and the commands that look at results or predict new images."""

import io
import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from workflow_scripts import segmentation
from workflow_scripts.base.errors import UserError
from workflow_scripts.commands import inspect, predict
from workflow_scripts.data.checkpoints.weights import save_weights
from workflow_scripts.data.index import read_index, write_index
from workflow_scripts.data.index_entries import Entry
from workflow_scripts.data.maps import upsampled
from workflow_scripts.look import pictures, plots
from workflow_scripts.look.schemas import SCHEMAS
from workflow_scripts.run.command import Job
from workflow_scripts.segmentation.inference import load, soft_prediction
from workflow_scripts.stages import curves as curves_stage
from workflow_scripts.stages import montage as montage_stage
from workflow_scripts.store.artifacts import create
from workflow_scripts.store.provenance import write_sidecar

CLASSES = ("bird", "cat", "dog")
TRAIN, VALIDATION = [f"train_{n}" for n in range(6)], [f"validation_{n}" for n in range(2)]
ABOUT = {"dataset": "toy", "split": "all", "classes": CLASSES}


def decoded(content: bytes) -> np.ndarray:
    image = Image.open(io.BytesIO(content))
    assert image.format == "PNG" and not image.info.keys() & {"Software", "date:create", "Creation Time"}
    return np.asarray(image.convert("RGB"))


def has_colour(picture: np.ndarray, colour) -> bool:
    return bool((picture == np.asarray(colour, np.uint8)).all(axis=2).any())


@pytest.fixture
def results(tmp_path):
    """results/toy with one artifact of every kind; cams and masks of train, predictions of validation."""
    random, root = np.random.default_rng(0), tmp_path / "results" / "toy"
    entries = []
    with (
        create(root / "rendered/images.h5", "images", **ABOUT) as images,
        create(root / "truth.h5", "truth", **ABOUT) as truth,
        create(root / "saliency/net.h5", "saliency", **ABOUT) as saliency,
        create(root / "seed-0/cams/eps.h5", "cam", **ABOUT) as cams,
        create(root / "seed-0/affinities/cam.labels.h5", "affinity_labels", **ABOUT) as labels,
        create(root / "seed-0/masks/eps.h5", "mask", **ABOUT) as masks,
        create(root / "seed-0/predictions/eps/fov/soft.h5", "prediction", **ABOUT) as soft,
        create(root / "seed-0/predictions/eps/fov/crf.h5", "prediction", **ABOUT) as crf,
    ):
        for number, identifier in enumerate(TRAIN + VALIDATION):
            label = np.zeros((24, 32), np.uint8)
            label[4:20, 4:28] = number % 3 + 1
            label[4:20, 27] = 255
            box = np.array([[4, 4, 28, 20, number % 3]], np.float32)
            entries.append(Entry(identifier, "", 24, 32, "0" * 64, (number % 3,), box))
            image = random.integers(0, 256, (24, 32, 3), np.uint8)
            images.put(identifier, image=image, boxes=box, labels=[number % 3])
            truth.put(identifier, label=label, instance=(label > 0).astype(np.uint8), context=np.zeros_like(label))
            saliency.put(identifier, saliency=np.where(label > 0, 200, 3).astype(np.uint8))
            if identifier in TRAIN:
                scores = (label[None, ::2, ::2] > 0).astype(np.float16) * 0.8
                cams.put(identifier, classes=np.array([number % 3], np.int16), scores=scores, background=1 - scores[0])
                labels.put(identifier, label=label[4::8, 4::8])  # one for each feature cell
                masks.put(identifier, label=label)
            else:
                scores = np.stack([label[::2, ::2] == value for value in range(4)]).astype(np.float16)
                soft.put(identifier, scores=scores)
                crf.put(identifier, label=label)
    write_index(str(root / "index.h5"), "toy", CLASSES, entries, {"train": TRAIN, "validation": VALIDATION})
    return root


ARTIFACTS = (
    "index.h5", "rendered/images.h5", "truth.h5", "saliency/net.h5", "seed-0/cams/eps.h5", "seed-0/masks/eps.h5",
    "seed-0/affinities/cam.labels.h5",    "seed-0/predictions/eps/fov/soft.h5", "seed-0/predictions/eps/fov/crf.h5",
)  # fmt: skip


# Drawing


def test_palette_of_voc():
    known = {0: (0, 0, 0), 1: (128, 0, 0), 8: (64, 0, 0), 15: (192, 128, 128), 20: (0, 64, 128), 255: (224, 224, 192)}
    assert {label: tuple(pictures.PALETTE[label].tolist()) for label in known} == known
    assert len(np.unique(pictures.PALETTE, axis=0)) == 256


def test_fitted_enlarges_by_whole_numbers_and_reduces_to_a_cell():
    assert pictures.fitted(96, 128) == (192, 256)
    assert pictures.fitted(375, 500) == (195, 260)
    assert pictures.fitted(500, 375) == (260, 195)
    assert pictures.fitted(1, 5000) == (1, 260)


def test_blended_has_grey_background_label_colours_and_white_edges():
    image = np.tile(np.array([90, 100, 110], np.uint8), (20, 20, 1))
    label = np.zeros((20, 20), np.uint8)
    label[5:15, 5:15], label[0:2] = 2, 255
    picture = pictures.blended(image, label, opacity=0.5)
    assert picture[18, 18].tolist() == [100, 100, 100]
    assert picture[9, 9].tolist() == [50, 114, 50]  # halfway from grey 100 to (0, 128, 0)
    assert picture[0, 0].tolist() == [162, 162, 146]
    assert picture[9, 4].tolist() == picture[9, 14].tolist() == picture[4, 9].tolist() == [255, 255, 255]


def test_heat_map_gets_lighter_with_the_score():
    ramp = np.linspace(0, 1, 40)[None].repeat(30, axis=0)
    picture = pictures.heat_map(np.full((30, 40, 3), 128, np.uint8), ramp).astype(float).mean(axis=(0, 2))
    assert (np.diff(picture) >= -0.5).all() and picture[-1] - picture[0] > 100


def test_class_map_shows_the_strongest_class_and_nothing_where_all_is_zero():
    scores = np.zeros((2, 30, 40), np.float16)
    scores[0, :, :15], scores[1, :, 25:] = 0.2, 7.0
    picture = pictures.class_map(np.full((30, 40, 3), 100, np.uint8), scores, np.array([0, 2]))
    middle, (height, width) = picture.shape[0] // 2, pictures.fitted(30, 40)
    assert picture.shape == (height, width, 3)
    assert picture[middle, 10].tolist() == [125, 10, 10] and picture[middle, -10].tolist() == [125, 125, 10]
    assert picture[middle, width // 2].tolist() == [100, 100, 100]
    empty = pictures.class_map(np.full((30, 40, 3), 100, np.uint8), scores[:0], np.array([], np.int16))
    assert (empty == 100).all()


def test_boxes_lie_on_the_pixels_of_their_objects():
    picture = pictures.draw_boxes(np.full((200, 400, 3), 9, np.uint8), np.array([[10, 20, 30, 40, 1]]), (100, 200))
    outline = (picture == pictures.PALETTE[2]).all(axis=2)
    rows, columns = np.flatnonzero(outline.any(axis=1)), np.flatnonzero(outline.any(axis=0))
    assert (rows[0], rows[-1], columns[0], columns[-1]) == (40, 79, 20, 59)


def test_shortened_text_fits_and_keeps_both_ends():
    text = pictures.shortened("a_very_long_identifier_of_an_image_000123", 120, 14)
    assert text.startswith("a_v") and text.endswith("123") and "..." in text
    assert pictures.shortened(text, 120, 14) == text
    assert pictures.shortened("short", 120, 14) == "short"


def test_montage_places_pictures_and_names_the_colours():
    first, second = np.full((50, 260, 3), 11, np.uint8), np.full((120, 60, 3), 22, np.uint8)
    row = pictures.Row(
        ["id", "cat"], [pictures.Cell(first, "caption", frozenset({2, 255})), None, pictures.Cell(second)]
    )
    block = pictures.Block("heading", ["a\nb", "c", "d"], [row])
    picture = np.asarray(pictures.montage("title", [block, block], CLASSES))
    assert picture.shape[1] == 2 * pictures.MARGIN + pictures.TITLES + 3 * (pictures.CELL + pictures.GAP)
    left = pictures.MARGIN + pictures.TITLES
    for value, shape, column in ((11, (50, 260), 0), (22, (120, 60), 2)):
        rows, columns = np.nonzero((picture == value).all(axis=2))
        assert len(rows) == 2 * shape[0] * shape[1]
        centre = left + column * (pictures.CELL + pictures.GAP) + pictures.CELL // 2
        assert columns.min() == centre - shape[1] // 2 and columns.max() == centre + shape[1] // 2 - 1
    assert has_colour(picture, pictures.PALETTE[2]) and has_colour(picture, pictures.PALETTE[255])
    assert not has_colour(picture, pictures.PALETTE[1])
    edge = pictures.MARGIN // 2
    assert (picture[:, :edge] == 255).all() and (picture[:, -edge:] == 255).all() and (picture[-edge:] == 255).all()
    assert pictures.png(Image.fromarray(picture)) == pictures.png(pictures.montage("title", [block, block], CLASSES))


def test_a_prediction_is_shown_as_it_is_scored():
    scores = np.random.default_rng(0).random((4, 7, 9)).astype(np.float16)
    image = np.zeros((28, 36, 3), np.uint8)
    likely, confidence = SCHEMAS["prediction"].cells({"scores": scores}, image, CLASSES)
    label = upsampled(scores, 28, 36).argmax(axis=0).astype(np.uint8)
    assert (likely.picture == pictures.overlay(image, label)).all() and likely.labels == set(np.unique(label)) - {0}
    assert confidence.caption.startswith("confidence 0.")


def test_labels_of_cells_are_shown_over_their_pixels():
    image, label = np.zeros((20, 30, 3), np.uint8), np.array([[1, 0, 0, 255], [1, 0, 0, 0], [1, 0, 0, 0]], np.uint8)
    (cell,) = SCHEMAS["affinity_labels"].cells({"label": label}, image, CLASSES)
    pixels = label.repeat(8, axis=0).repeat(8, axis=1)[:20, :30]
    assert (cell.picture == pictures.overlay(image, pixels)).all() and cell.labels == {1, 255}


# Stages


def test_a_second_label_map_has_a_picture_of_its_own():
    image, label = np.zeros((8, 8, 3), np.uint8), np.zeros((8, 8), np.uint8)
    first, second = SCHEMAS["mask"].cells({"label": label, "label_retrieved": label + 2}, image, CLASSES)
    assert first.caption == "background only" and second.caption == CLASSES[1]


def test_representative_images_are_spread_and_cover_the_classes(results):
    index = read_index(str(results / "index.h5"))
    chosen = montage_stage.representative(index, "train", 3)
    assert [
        identifier in part for identifier, part in zip(chosen, (TRAIN[:2], TRAIN[2:4], TRAIN[4:]), strict=True)
    ] == [True] * 3
    assert {int(label) for identifier in chosen for label in index.classes_of(identifier)} == {0, 1, 2}
    assert montage_stage.representative(index, "validation", 9) == VALIDATION


def montage_job(results, out) -> Job:
    columns = [
        ["saliency", "saliency"],
        ["cams", "cam"],
        ["masks", "mask"],
        ["predictions", "prediction"],
        ["predictions", "prediction"],
    ]
    settings = {"dataset": "toy", "system": "eps", "images": 2, "splits": ["train", "validation"], "columns": columns}
    inputs = {"index": "index.h5", "images": "rendered/images.h5", "truth": "truth.h5"}
    paths = {name: str(results / path) for name, path in inputs.items()} | {
        "artifacts": [str(results / path) for path in ARTIFACTS[3:] if "labels" not in path]
    }
    return Job(SimpleNamespace(**settings), SimpleNamespace(**paths), SimpleNamespace(montage=str(out)), 1, "")


def test_montage_stage_gives_each_split_its_own_columns(results, tmp_path, monkeypatch):
    seen = []
    draw = pictures.montage
    monkeypatch.setattr(
        pictures, "montage", lambda title, blocks, classes: seen.extend(blocks) or draw(title, blocks, classes)
    )
    montage_stage.main(montage_job(results, tmp_path / "first.png"))
    montage_stage.main(montage_job(results, tmp_path / "second.png"))
    assert seen[0].columns == ["image", "saliency\nnet", "class activation maps\neps", "pseudo mask\neps", "truth"]
    assert seen[1].columns == ["image", "saliency\nnet", "prediction\nsoft", "prediction\ncrf", "truth"]
    assert all(cell is not None for block in seen for row in block.rows for cell in row.cells)
    content = (tmp_path / "first.png").read_bytes()
    assert content == (tmp_path / "second.png").read_bytes()
    assert has_colour(decoded(content), pictures.PALETTE[1])


def test_montage_stage_without_truth(results, tmp_path, monkeypatch):
    """Images of the user's own need no masks."""
    seen = []
    monkeypatch.setattr(
        pictures, "montage", lambda title, blocks, classes: seen.extend(blocks) or Image.new("L", (1, 1))
    )
    job = montage_job(results, tmp_path / "montage.png")
    job.inputs.truth = None
    montage_stage.main(job)
    assert [block.columns[-1] for block in seen] == ["pseudo mask\neps", "prediction\ncrf"]


def write_curve(path, rows=4):
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [f"{50 * n},{0.1 / n},{0.7 / n**2},{0.01 * n}" for n in range(1, rows + 1)]
    path.write_text("\n".join(["iteration,learning_rate,classification,saliency", *lines]) + "\n")
    return str(path)


def test_curves_stage(tmp_path):
    sweep = tmp_path / "eps.json"
    sweep.write_text(json.dumps({"threshold": 0.1, "miou": {"0.0": 0.2, "0.1": 0.5, "0.2": 0.4}}))
    inputs = {"curves": [write_curve(tmp_path / f"{n}.csv", n) for n in (1, 4)], "sweeps": [str(sweep), str(sweep)]}
    names = {"curves": ["0 eps", "0 eps fov"], "sweeps": ["eps", "eps"]}
    for inputs_now, names_now, name in (
        (inputs, names, "a"),
        (inputs, names, "b"),
        ({"curves": [], "sweeps": []},) * 2 + ("c",),
    ):
        outputs = SimpleNamespace(
            curves=str(tmp_path / f"{name}_curves.png"), sweep=str(tmp_path / f"{name}_sweep.png")
        )
        curves_stage.main(Job(SimpleNamespace(**names_now), SimpleNamespace(**inputs_now), outputs, 1, ""))
    for kind in ("curves", "sweep"):
        contents = [(tmp_path / f"{name}_{kind}.png").read_bytes() for name in "abc"]
        assert contents[0] == contents[1]
        assert decoded(contents[0]).shape[0] > 2 * decoded(contents[2]).shape[0]  # a line of words is low


def test_a_curve_that_is_none_is_named(tmp_path):
    path = tmp_path / "x.csv"
    for text in ("", "a,b\n1,2\n", "iteration,loss\n1,x\n", "iteration,loss\n1\n"):
        path.write_text(text)
        with pytest.raises(UserError, match="x.csv"):
            plots.read_curve(path)


# Inspect


@pytest.mark.parametrize("artifact", ARTIFACTS)
def test_inspect_prints_and_draws_every_artifact(results, artifact, capsys, tmp_path):
    out = tmp_path / "out.png"
    inspect.main([str(results / artifact), "--number", "2"])
    printed = capsys.readouterr().out
    assert (
        "'toy'" in printed
        and "bird" in printed
        and len([line for line in printed.splitlines() if "_" in line.split(":")[0]]) >= 2
    )
    inspect.main([str(results / artifact), "--number", "2", "--out", str(out)])
    picture = decoded(out.read_bytes())
    assert picture.shape[0] > 2 * 192 and has_colour(picture, pictures.PALETTE[1])


def test_inspect_shows_ranges_ids_and_the_learnt_background(results, capsys, tmp_path):
    inspect.main([str(results / "seed-0/cams/eps.h5"), "--ids", "train_4"])
    printed = capsys.readouterr().out
    assert "train_4" in printed and "train_3" not in printed
    assert "float16 1 x 12 x 16, 0 to 0.7998" in printed and "background" in printed and "cat" in printed
    moved = tmp_path / "elsewhere.h5"
    (results / "seed-0/cams/eps.h5").rename(moved)
    with pytest.raises(UserError, match="--results"):
        inspect.main([str(moved), "--out", str(tmp_path / "o.png")])
    inspect.main([str(moved), "--out", str(tmp_path / "o.png"), "--results", str(results.parent)])
    # image, truth, one class, background
    assert decoded((tmp_path / "o.png").read_bytes()).shape[1] == 2 * pictures.MARGIN + pictures.TITLES + 4 * (
        pictures.CELL + pictures.GAP
    )


def test_inspect_names_mistakes_in_one_line(results, tmp_path):
    masks = str(results / "seed-0/masks/eps.h5")
    (tmp_path / "bad.h5").write_text("no")
    (tmp_path / "notes.txt").write_text("no")
    (tmp_path / "bad.safetensors").write_text("no")
    cases = (
        ([masks, "--ids", "train_9"], "no image 'train_9'; the nearest known id is 'train_"),
        ([masks, "--out", "picture.jpg"], "ends in .png"),
        ([masks, "--number", "0"], "--number"),
        ([masks, "--results", str(tmp_path), "--out", "o.png"], "index.h5: no such file"),
        ([str(tmp_path / "bad.h5")], "not a readable HDF5"),
        ([str(tmp_path / "notes.txt")], "expected an artifact"),
        ([str(tmp_path / "bad.safetensors")], "not readable weights"),
        ([str(tmp_path / "none.h5")], "no such file"),
    )
    for arguments, message in cases:
        with pytest.raises(UserError) as stopped:
            inspect.main(arguments)
        assert message in str(stopped.value) and "\n" not in str(stopped.value)


# Predict

BLOCK = {
    "network": "large_fov", "hidden": 8, "dilation": 1, "dropout": 0.5, "align_corners": False, "score_kernel": 1, "loss_at": "labels",
    "backbone": {"name": "tiny", "stride": 8, "batch_norm": "trained", "frozen_stages": 0},
}  # fmt: skip


def settings():
    return json.loads(
        json.dumps({"block": BLOCK, "classes": CLASSES, "dataset": "toy"}),
        object_hook=lambda item: SimpleNamespace(**item),
    )


@pytest.fixture
def weights(tmp_path):
    torch.manual_seed(0)
    path = tmp_path / "segmenters" / "fov.safetensors"
    network = segmentation.build(settings().block, 4)
    torch.nn.init.normal_(network.head.weight)  # all labels occur
    save_weights(network, path)
    in_use = json.dumps({"block": BLOCK, "classes": CLASSES, "dataset": "toy"})
    write_sidecar(str(path), "train_segmenter", in_use, "0", {}, 1.0, [])
    write_curve(path.parent / "fov.curve.csv")
    return path


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    random = np.random.default_rng(0)
    for name, size in (("wide.png", (40, 90)), ("tall.bmp", (70, 30))):
        Image.fromarray(random.integers(0, 256, (*size, 3), np.uint8)).save(folder / name)
    return folder


def test_inspect_weights(weights, capsys, tmp_path):
    inspect.main([str(weights), "--out", str(tmp_path / "curve.png")])
    printed = capsys.readouterr().out
    count = sum(value.numel() for value in segmentation.build(settings().block, 4).state_dict().values())
    assert f"{count:,} numbers" in printed and "head.weight" in printed and "4 x 8 x 1 x 1" in printed
    decoded((tmp_path / "curve.png").read_bytes())
    inspect.main([str(weights.parent / "fov.curve.csv")])
    assert "classification: first 0.7, last 0.04375" in capsys.readouterr().out


def test_predict_writes_the_arg_max_of_the_network(weights, photos, tmp_path, capsys):
    out = tmp_path / "labels"
    predict.main(["--weights", str(weights), "--images", str(photos), "--out", str(out), "--overlay", "--flip"])
    assert sorted(path.name for path in out.iterdir()) == [
        "areas.csv",
        "classes.csv",
        "overlays",
        "tall.png",
        "wide.png",
    ]
    options = SimpleNamespace(
        scales=[1.0],
        flip=True,
        resize="antialiased",
        merge="mean",
        resolution=1,
        precision="float32",
        align_corners=False,
    )
    network = load(settings().block, 4, str(weights))
    for name in ("wide.png", "tall.bmp"):
        image = np.asarray(Image.open(photos / name)).copy()
        written = Image.open((out / name).with_suffix(".png"))
        assert written.mode == "P" and written.getpalette()[3:6] == [128, 0, 0]
        expected = soft_prediction(network, image, options).argmax(axis=0)
        assert (np.asarray(written) == expected).all()
        assert np.asarray(Image.open((out / "overlays" / name).with_suffix(".png"))).shape == image.shape
    assert "2,cat,0,128,0\n" in (out / "classes.csv").read_text()
    assert "2 of 2 images" in capsys.readouterr().out


def test_predict_reduces_large_images_and_gives_labels_of_their_size(weights, photos, tmp_path):
    predict.main(["--weights", str(weights), "--images", str(photos), "--out", str(tmp_path / "a"), "--longest", "45"])
    label = np.asarray(Image.open(tmp_path / "a" / "wide.png"))
    assert label.shape == (40, 90) and (label[::2, ::2] == label[1::2, 1::2]).all()


def test_predict_names_bad_images_and_does_the_others(weights, photos, tmp_path, capsys):
    (photos / "cut.jpg").write_bytes(b"\xff\xd8\xff")
    (photos / "a..b.png").write_bytes((photos / "wide.png").read_bytes())
    (photos / "notes.txt").write_text("no image")
    assert predict.main(["--weights", str(weights), "--images", str(photos), "--out", str(tmp_path / "labels")]) == 1
    printed = capsys.readouterr()
    assert (
        "cut.jpg" in printed.err
        and "'a..b'" in printed.err
        and "notes.txt" in printed.out
        and "2 of 4 images" in printed.out
    )
    assert sorted(path.name for path in (tmp_path / "labels").iterdir()) == [
        "areas.csv",
        "classes.csv",
        "tall.png",
        "wide.png",
    ]


def test_predict_refuses_before_it_writes(weights, photos, tmp_path):
    def refused(message, **changes):
        options = {"weights": weights, "images": photos, "out": tmp_path / "labels"} | changes
        with pytest.raises(UserError, match=message):
            predict.main([part for name, value in options.items() for part in (f"--{name}", str(value))])

    before = sorted(photos.iterdir())
    refused("never written to", out=photos)
    refused("never written to", out=photos / "labels")
    refused("no scale", scales=0)
    refused("--longest", longest=0)
    refused("no such folder", images=tmp_path / "none")
    refused("no such weights", weights=tmp_path / "none.safetensors")
    (photos / "wide.jpg").write_bytes((photos / "wide.png").read_bytes())
    refused("wide.jpg and wide.png", images=photos)
    (photos / "wide.jpg").unlink()
    (tmp_path / "empty").mkdir()
    refused("holds no image", images=tmp_path / "empty")
    sidecar = weights.parent / "fov.safetensors.json"
    sidecar.write_text(json.dumps(json.loads(sidecar.read_text()) | {"stage": "train_classifier"}))
    refused("expected a segmentation network")
    sidecar.write_text("[]")
    refused("missing or not as a stage wrote it")
    sidecar.unlink()
    refused("missing or not as a stage wrote it")
    assert sorted(photos.iterdir()) == before and not (tmp_path / "labels").exists()
