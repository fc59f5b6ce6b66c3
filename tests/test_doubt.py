"""Doubt: its measures as closed forms, its table from artifacts of all stages, its jobs, and the images exported by it."""

from pathlib import Path

import numpy as np
import pytest
from conftest import SMALL, dry_run, python, refused
from conftest import run as snakemake
from demo_graph import edit, named
from own_photographs import COMMON, CSV, HEIGHT, IDS, WIDTH, label_of, plan_of, write_photographs
from stage_runs import run

from workflow_scripts.commands import export
from workflow_scripts.config.planning.plan import Plan
from workflow_scripts.config.resolve import Config
from workflow_scripts.evaluation import doubt
from workflow_scripts.store.artifacts import create
from workflow_scripts.store.csv_files import read_table

# Measures

ONE = np.array([[0, 0, 1, 1], [0, 0, 255, 2]])
OTHER = np.array([[0, 1, 1, 1], [0, 0, 1, 1]])


def test_disagreement_of_two_label_maps():
    """Of background 3 of 4 pixels, of class 1 two of four, of class 2 none of one; of class 3 no map has any."""
    expected = 1 - (3 / 4 + 2 / 4 + 0 / 1) / 3
    assert doubt.disagreement(ONE, OTHER, 4) == pytest.approx(expected)
    assert doubt.disagreement(OTHER, ONE, 4) == pytest.approx(expected)
    assert doubt.disagreement(OTHER, OTHER, 4) == 0
    assert doubt.disagreement(np.zeros((2, 2), int), np.ones((2, 2), int), 2) == 1
    assert np.isnan(doubt.disagreement(np.full((2, 4), 255), OTHER, 4))


def test_disagreement_with_saliency():
    saliency = np.array([[0, 200, 200, 200], [0, 0, 200, 127]], np.uint8)  # 127 / 255 is less than a half
    assert doubt.foreground_disagreement(saliency, ONE) == pytest.approx(1 - 2 / 4)
    nothing = np.zeros((2, 4), np.uint8)
    assert doubt.foreground_disagreement(nothing, nothing) == 0
    assert doubt.foreground_disagreement(nothing, OTHER) == 1


def test_entropy():
    """Of a certain pixel 0, of four equal labels 1, of two of four ln 2 / ln 4; shares of the sum, pixels alike."""
    scores = np.array([[1, 0.25, 3, 0], [0, 0.25, 3, 0], [0, 0.25, 0, 0], [0, 0.25, 0, 0]], np.float32)[:, None]
    assert doubt.entropy(scores) == pytest.approx((0 + 1 + 0.5 + 0) / 4, abs=1e-6)
    assert doubt.entropy(scores[:1]) == 0
    assert doubt.entropy(np.full((3, 2, 2), 1 / 3, np.float32)) == pytest.approx(1)
    p = np.array([0.9, 0.1])
    assert doubt.entropy(np.tile(p[:, None, None], (1, 5, 5))) == pytest.approx(-(p * np.log2(p)).sum())


def test_wrong_labels():
    """Classes 0 and 1 are shown (255 is none); missing and additional ones count alike."""
    assert doubt.wrong_labels(ONE, np.array([0, 1])) == 0
    assert doubt.wrong_labels(ONE, np.array([0])) == pytest.approx(1 - 1 / 2)
    assert doubt.wrong_labels(ONE, np.array([0, 2])) == pytest.approx(1 - 1 / 3)
    assert doubt.wrong_labels(np.zeros((2, 2), int), np.array([], int)) == 0


def test_doubt_of_a_stage_is_the_mean_of_what_is_known_of_it():
    parts = {"maps-mask": 0.2, "maps-segmentation": 0.6, "mask-segmentation": np.nan, "segmentation:entropy": 0.3}
    assert doubt.of_stages(parts) == pytest.approx({"maps": 0.4, "mask": 0.2, "segmentation": 0.45})
    assert np.isnan(doubt.of_stages({"mask-segmentation": np.nan})["mask"])


# The table

SYSTEMS = {"systems": ["eps", "cam"], "use": COMMON["use"] | {"masks": "rest", "evaluation": ["all", "val"]}}
CLASSES = ("cat", "dog")
SEED = Path("results/mine/seed-0")


def write_artifacts() -> None:
    """All stages of `eps`, perfect but for image 2, whose mask is of the other class, and 4, whose prediction is empty."""
    about = {"dataset": "mine", "split": "all", "classes": CLASSES}
    with (
        create("results/mine/saliency/supplied.h5", "saliency", **about) as saliency,
        create(SEED / "cams/eps.h5", "cam", **about) as cams,
        create(SEED / "masks/eps.h5", "mask", **about) as masks,
        create(SEED / "predictions/eps/large_fov/single.h5", "prediction", **about) as predictions,
    ):
        for number, identifier in enumerate(IDS[:6]):
            label = np.where(label_of(number) == 255, 0, label_of(number))
            inside = label > 0
            saliency.put(identifier, saliency=np.where(inside, 255, 0).astype(np.uint8))
            cams.put(identifier, classes=np.array([number % 2], np.int16), scores=inside[None].astype(np.float16))
            masks.put(identifier, label=np.where(inside, 3 - label, 0).astype(np.uint8) if number == 2 else label)
            predicted = np.zeros_like(label) if number == 4 else label
            predictions.put(identifier, scores=np.stack([predicted == value for value in range(3)]).astype(np.float16))


@pytest.fixture
def table(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_photographs()
    plan = plan_of(CSV, **SYSTEMS)
    assert run(plan, "index") is None
    write_artifacts()
    assert run(plan, "doubt", seed="0", mask="eps") is None
    return read_table(str(SEED / "doubt/eps.csv"), index_col="id")


def test_table_of_a_small_data_set(table):
    """Four stages in six pairs; the most doubtful first, equal ones in the order of the data set."""
    stages, pairs = ["saliency", "maps", "mask", "segmentation"], ["maps", "mask", "segmentation"]
    assert list(table)[:4] == stages and list(table)[4:7] == [f"saliency-{stage}" for stage in pairs]
    assert list(table)[7:] == [
        *("maps-mask", "maps-segmentation", "mask-segmentation"),
        *("maps:entropy", "mask:labels", "segmentation:labels", "segmentation:entropy"),
    ]
    assert list(table.index) == [IDS[2], IDS[4], IDS[0], IDS[1], IDS[3], IDS[5]]
    share = 8 * 14 / (HEIGHT * WIDTH)  # of the object
    sure = table.loc[IDS[0]]
    # A map divided by its maximum is 1 beside a background of 0.2, or 0; the rest of the image is certain.
    of_map = np.array([0.2, 1]) / 1.2
    entropy = share * -(of_map * np.log2(of_map)).sum()
    assert sure["maps:entropy"] == pytest.approx(entropy, abs=1e-3)
    assert (sure.drop(["maps", "maps:entropy"]) == 0).all() and sure["maps"] == pytest.approx(entropy / 4, abs=1e-3)
    wrong, empty = table.loc[IDS[2]], table.loc[IDS[4]]
    # The background agrees, both classes do not; the foreground does.
    assert wrong["maps-mask"] == wrong["mask-segmentation"] == pytest.approx(2 / 3, abs=1e-4)
    assert wrong["saliency-mask"] == 0 and wrong["mask:labels"] == 1 and wrong["segmentation:labels"] == 0
    assert wrong["mask"] == pytest.approx((0 + 2 / 3 + 2 / 3 + 1) / 4, abs=1e-4)
    assert empty["saliency-segmentation"] == empty["segmentation:labels"] == 1
    assert empty["mask-segmentation"] == pytest.approx(1 - (1 - share) / 2, abs=1e-4)


# Jobs


def test_jobs_compare_what_there_is(raw):
    plan = Plan(Config(raw))

    def job(mask: str, dataset: str = "demo", seed: str = "0"):
        found = plan.job("doubt", {"dataset": dataset, "seed": seed, "mask": mask})
        return found.settings, {
            name: path.removeprefix(f"results/{dataset}/") for name, path in found.inputs.items() if path
        }

    settings, inputs = job("eps")
    assert settings == {"dataset": "demo", "split": "all_train", "threshold": 0.2}
    assert inputs == {
        "index": "index.h5",
        "saliency": "saliency/rendered.h5",
        "cams": "seed-0/cams/eps.h5",
        "masks": "seed-0/masks/eps.h5",
        "predictions": "seed-0/predictions/eps/large_fov/single@all_train.h5",
    }
    assert "saliency" not in job("cam")[1] and "predictions" not in job("eps_crf")[1]
    refused(lambda: job("box_crf"), "masks.box_crf: nothing to compare these masks with")


def test_predictions_of_the_training_split_are_those_that_are_there(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_photographs()
    for splits, name in ((["all", "val"], "single"), (["val"], "single@all")):
        plan = plan_of(CSV, systems=["eps"], use=COMMON["use"] | {"evaluation": splits})
        path = plan.job("doubt", {"dataset": "mine", "seed": "0", "mask": "eps"}).inputs["predictions"]
        assert path == f"results/mine/seed-0/predictions/eps/large_fov/{name}.h5"
        assert (
            "predictions",
            {"dataset": "mine", "seed": "0", "mask": "eps", "segmenter": "large_fov", "prediction": name},
        ) in plan.behind([path])


def test_stale_tables_of_the_small_demo(clone):
    """Run by Snakemake, whole; an edit of the measures concerns the table alone, one of masks what is made of them."""
    target = "results/demo/seed-0/doubt/eps.csv"
    predictions = "predictions eps/large_fov/single@all_train"
    assert named(dry_run(clone, target)) == {"doubt eps", predictions}
    done = snakemake(clone, target)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert len(read_table(str(clone / target))) == 24 and dry_run(clone, target, "results/demo/miou.csv") == []
    verified = python(clone, "-m", "workflow_scripts", "verify", "results/demo", "--configfile", *SMALL)
    assert verified.returncode == 0, verified.stdout
    edit(clone, "evaluation/doubt.py")
    assert named(dry_run(clone, target, "results/demo/miou.csv")) == {"doubt eps"}
    edit(clone, "refine/constant_mask.py")
    again = {"doubt eps", "masks eps", "train_segmenter eps/large_fov", predictions}
    assert named(dry_run(clone, target)) == again


# Export


def exported(out: str, number: int, artifact: str = "masks/eps.h5") -> list[str]:
    export.main([str(SEED / artifact), "--format", "cvat", "--out", out, "--doubtful", str(number)])
    return [*export.most_doubtful(SEED / artifact, number)]


def test_export_of_the_most_doubtful(table):
    assert exported("masks.zip", 3) == [IDS[2], IDS[4], IDS[0]]
    assert exported("soft.zip", 1, "predictions/eps/large_fov/single.h5") == [IDS[4]]
    refused(lambda: exported("x", 7), "--doubtful 7", "has 6 images")
    refused(lambda: exported("x", 0), "--doubtful 0")
    truth = Path("results/mine/truth.h5")
    refused(lambda: export.most_doubtful(truth, 1), "truth.h5", "--doubtful is for masks and predictions")
    (SEED / "masks/eps.h5").rename(SEED / "masks/eps_crf.h5")
    refused(
        lambda: exported("x", 1, "masks/eps_crf.h5"),
        "doubt/eps_crf.csv: no such file",
        "snakemake --cores 2 results/mine/seed-0/doubt/eps_crf.csv",
    )
    write_artifacts()
    with create(SEED / "masks/eps.h5", "mask", dataset="mine", split="all", classes=CLASSES) as masks:
        masks.put(IDS[0], label=label_of(0))
    made = SEED / "masks/eps.h5"
    refused(lambda: exported("x", 1), f"doubt/eps.csv: was made of {made}, not of {made} as it is", "again")
