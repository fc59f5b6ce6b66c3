"""Tunings: what a grid becomes, that each point is made and goes stale by itself, and what the table says."""

import csv
import io
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import SMALL, copy_tree, dry_run, put, python, refused, run
from demo_graph import named, stale
from PIL import Image

from workflow_scripts.config.planning.outputs import maker
from workflow_scripts.config.planning.plan import Plan
from workflow_scripts.config.resolve import Config
from workflow_scripts.data.index import read_index
from workflow_scripts.data.maps import constant_background, to_label, upsampled
from workflow_scripts.evaluation.miou import confusion_matrix, mean_intersection_over_union
from workflow_scripts.evaluation.saliency import foreground_iou
from workflow_scripts.look.grid_plots import grid_picture
from workflow_scripts.refine.dense_crf import dense_crf
from workflow_scripts.stages import tune
from workflow_scripts.store.artifacts import Reader


def tuning(raw: dict, **block) -> dict:
    return put(raw, "tunings.mine", {"mask": "eps", **block})


def jobs(raw: dict, dataset: str = "demo") -> set[str]:
    """The jobs of the tuning beyond those of the table."""
    plan = Plan(Config(raw))
    parts = ("tuning", "classifier", "cam", "affinity", "mask", "segmenter", "prediction")

    def of(*more: str) -> set[str]:
        found = plan.jobs(dataset, *more)
        return {f"{stage} {'/'.join(names[part] for part in parts if part in names)}" for stage, names in found}

    return of(f"results/{dataset}/tune/mine.csv") - of()


# What a grid becomes


def test_a_threshold_costs_a_mask_of_the_held_out_images_and_its_score(raw):
    tuning(raw, vary={"masks.eps.threshold": [0.1, 0.2, "3e-1"]})
    ends = ("@thresholds+threshold=0.1", "@thresholds", "@thresholds+threshold=0.3")
    assert jobs(raw) == {f"{rule} eps{end}" for rule in ("masks", "score_masks") for end in ends} | {"tune mine"}
    config = Config(raw)
    grid = config.grid("demo", "mine")
    assert [(point.values, point.configured) for point in grid.points] == [
        ((0.1,), False),
        ((0.2,), True),
        ((0.3,), False),
    ]
    assert (grid.split, grid.seeds) == ("thresholds", (0,))
    wildcards = {"dataset": "demo", "seed": "0", "mask": "eps@thresholds+threshold=0.3"}
    for stage in ("masks", "score_masks"):
        assert Plan(config).job(stage, wildcards).settings["splits"] == ["thresholds"]
    assert Plan(config).job("masks", wildcards).settings["block"] == {"rule": "constant", "threshold": 0.3}
    assert config.block("demo", "masks", "eps").threshold == 0.2


def test_a_number_of_training_makes_what_is_behind_the_mask_again_for_the_images_that_need_it(raw):
    """The walk's own network learns from maps of its own split, from another artifact than the one that walks."""
    tuning(raw, mask="eps_affinity", vary={"classifiers.eps.options.overlap_threshold": [0.4, 0.5]})
    tau = "classifiers.eps.options.overlap_threshold=0.5"
    assert jobs(raw) == {
        "masks eps_affinity@thresholds",
        "score_masks eps_affinity@thresholds",
        "train_classifier eps@options.overlap_threshold=0.5",
        f"cams eps@affinity+{tau}",
        f"affinity_labels eps@{tau}",
        f"train_affinity eps@{tau}",
        f"cams eps@thresholds+{tau}",
        f"masks eps_affinity@thresholds+{tau}",
        f"score_masks eps_affinity@thresholds+{tau}",
        "tune mine",
    }
    plan = Plan(Config(raw))
    names = {"dataset": "demo", "seed": "0"}
    trained = plan.job("train_classifier", names | {"classifier": "eps@options.overlap_threshold=0.5"})
    assert trained.settings["block"]["options"]["overlap_threshold"] == 0.5
    walked = plan.job("masks", names | {"mask": f"eps_affinity@thresholds+{tau}"})
    assert walked.inputs["affinity"] == f"results/demo/seed-0/affinities/eps@{tau}.safetensors"
    assert walked.inputs["cams"] == f"results/demo/seed-0/cams/eps@thresholds+{tau}.h5"
    assert plan.job("cams", names | {"cam": f"eps@affinity+{tau}"}).settings["splits"] == ["affinity"]


def test_a_network_that_starts_from_a_varied_classifier_is_made_again(raw):
    tuning(raw, mask="eps_affinity", vary={"classifiers.cam.options.dropout": [0.3]})
    made = jobs(raw)
    assert "train_classifier cam@options.dropout=0.3" in made and not any(job.startswith("cams ") for job in made)
    affinity = {"dataset": "demo", "seed": "0", "affinity": "eps@classifiers.cam.options.dropout=0.3"}
    initial = Plan(Config(raw)).job("train_affinity", affinity).inputs["initial"]
    assert initial == "results/demo/seed-0/classifiers/cam@options.dropout=0.3.safetensors"


def test_predictions_are_made_for_the_held_out_images(raw):
    end = {"segmenter": "large_fov", "prediction": "multi_crf"}
    tuning(raw, **end, vary={"predictions.multi_crf.crf.iterations": [1, 10]})
    chain = "eps/large_fov"
    assert jobs(raw) == {
        f"predictions {chain}/multi@thresholds",
        f"predictions {chain}/multi_crf@thresholds",
        f"predictions {chain}/multi_crf@thresholds+crf.iterations=1",
        f"score_predictions {chain}/multi_crf@thresholds",
        f"score_predictions {chain}/multi_crf@thresholds+crf.iterations=1",
        "tune mine",
    }
    tuning(raw, **end, vary={"masks.eps.threshold": [0.3], "segmenters.large_fov.recipe.batch": [6]})
    chain = "eps@all_train+threshold=0.3/large_fov@recipe.batch=6"
    assert jobs(raw) == {
        "masks eps@all_train+threshold=0.3",
        f"train_segmenter {chain}",
        f"predictions {chain}/multi@thresholds",
        f"predictions {chain}/multi_crf@thresholds",
        f"score_predictions {chain}/multi_crf@thresholds",
        "tune mine",
    }


def test_a_chosen_threshold_follows_the_varied_maps(raw):
    tuning(raw, mask="eps_chosen", vary={"cams.eps.scales": [[1, 1.5], [0.5, 1]]})
    assert jobs(raw) == {
        "masks eps_chosen@thresholds",
        "score_masks eps_chosen@thresholds",
        "cams eps@thresholds+scales=0.5,1",
        "thresholds eps@thresholds+scales=0.5,1",
        "masks eps_chosen@thresholds+cams.eps.scales=0.5,1",
        "score_masks eps_chosen@thresholds+cams.eps.scales=0.5,1",
        "tune mine",
    }


def test_equal_points_of_two_grids_are_one_artifact(raw):
    """Whatever the order of their keys; null takes a part away."""
    vary = {"masks.eps_crf.threshold": [0.3], "masks.eps_crf.crf.gaussian.1": [2]}
    names = []
    for grid in (vary, dict(reversed(vary.items())), {"masks.eps_crf.crf": [None]}):
        names.append(Config(tuning(raw, mask="eps_crf", vary=grid)).grid("demo", "mine").points[0].names["mask"])
    assert names[0] == names[1] == "eps_crf@thresholds+crf.gaussian.1=2+threshold=0.3"
    assert names[2] == "eps_crf@thresholds+crf=null"
    assert Config(raw).block("demo", "masks", names[2]).crf is None


def test_another_split_has_maps_of_its_own(raw):
    put(raw, "datasets.demo.splits.more", {"images": 10})
    tuning(raw, split="more", vary={"masks.eps.threshold": [0.2]})
    assert jobs(raw) == {"cams eps@more", "masks eps@more", "score_masks eps@more", "tune mine"}
    assert Plan(Config(raw)).job("truth", {"dataset": "demo"}).settings["splits"] == [
        "all_train",
        "more",
        "thresholds",
        "train",
        "val",
    ]


def test_every_seed_is_scored_and_a_data_set_overrides_a_grid(raw):
    tuning(raw, vary={"masks.eps.threshold": [0.2, 0.3]})
    put(raw, "datasets.demo.seeds", [3, 5])
    put(raw, "datasets.demo.overrides.tunings.mine.vary", {"masks.eps.threshold": [0.4]})
    inputs = Plan(Config(raw)).job("tune", {"dataset": "demo", "tuning": "mine"}).inputs["scores"]
    assert inputs == [f"results/demo/seed-{s}/scores/masks/eps@thresholds+threshold=0.4.json" for s in (3, 5)]


def test_every_shipped_tuning_holds_the_configured_point(shipped):
    """What is published or in use is compared with the others."""
    config = Config(shipped)
    for name in config.names("demo", "tunings"):
        grid = config.grid("voc", name)
        assert [point.configured for point in grid.points].count(True) == 1, name
        assert len(grid.points) == len({tuple(point.names.values()) for point in grid.points}) > 2
    assert {"eps_tau", "eps_lambda", "eps_crf", "eps_walk"} <= set(config.names("voc", "tunings"))


# Mistakes

WRONG = {
    "grid": ({"vary": {}}, "config: tunings.mine: empty grid, vary at least one number"),
    "values": ({"vary": {"masks.eps.threshold": []}}, "config: tunings.mine: vary.masks.eps.threshold: empty grid, "),
    "value twice": ({"vary": {"masks.eps.threshold": [0.2, 0.2]}}, "config: tunings.mine: vary.masks.eps.threshold: a value is"),
    "key": ({"vari": {}}, "config: tunings.mine: unknown key 'vari', did you mean 'vary'?"),
    "mask": ({"mask": "epps", "vary": {"a": [1]}}, "config: tunings.mine.mask: masks has no block 'epps', did you mean 'eps'?"),
    "prediction alone": ({"prediction": "multi", "vary": {"a": [1]}}, "config: tunings.mine: segmenter and prediction go "),
}  # fmt: skip


@pytest.mark.parametrize(("block", "message"), WRONG.values(), ids=WRONG)
def test_a_wrong_tuning_is_refused_at_once(raw, block, message):
    assert refused(lambda: Config(tuning(raw, **block))).startswith(message)


WHERE = "config: tunings.mine.vary: "
UNFIT = {
    "unknown number": ({"masks.eps.treshold": [0.3]}, f"{WHERE}masks.eps: unknown key 'treshold', did you mean 'threshold'?"),
    "unknown number further down": (
        {"classifiers.eps.options.overlap": [0.3]},
        f"{WHERE}classifiers.eps.options: unknown key 'overlap', did you mean 'overlap_threshold'?",
    ),
    "unknown part": ({"classifiers.eps.recipy.batch": [8]}, f"{WHERE}classifiers.eps: no part 'recipy', did you mean 'recipe'?"),
    "part that is not there": ({"masks.eps.crf.iterations": [8]}, f"{WHERE}masks.eps: no part 'crf'; it has no parts"),
    "place in a list": ({"cams.eps.scales.7": [8]}, f"{WHERE}cams.eps: no part '7', "),
    "block that is not behind the mask": (
        {"masks.eps_crf.threshold": [0.3]},
        f"{WHERE}'masks.eps_crf.threshold': what is scored is not made from it, did you mean 'masks.eps'?",
    ),
    "block alone": ({"masks.eps": [0.3]}, f"{WHERE}'masks.eps': names a block, add the key of a number of it"),
    "value out of range": ({"masks.eps.threshold": [0.3, 1.5]}, f"{WHERE}masks.eps.threshold: input should be less than"),
    "equal values": ({"masks.eps.threshold": [0.3, "0.3"]}, f"{WHERE}masks.eps.threshold = '0.3' is listed twice"),
    "text for a file name": ({"classifiers.cam.initial": ["../x"]}, "config: tunings vary numbers and names, found '../x'"),
}  # fmt: skip


@pytest.mark.parametrize(("vary", "message"), UNFIT.values(), ids=UNFIT)
def test_a_grid_that_does_not_fit_its_blocks(raw, vary, message):
    """It is told when the tuning is asked for: an overlay may have taken away what a shipped tuning varies."""
    mask = "cam" if "classifiers.cam.initial" in vary else "eps"
    plan = Plan(Config(tuning(raw, mask=mask, vary=vary)))
    assert refused(lambda: plan.job("tune", {"dataset": "demo", "tuning": "mine"})).startswith(message)


def test_a_split_that_does_not_serve(raw):
    def error(dataset: str = "demo", **more) -> str:
        plan = Plan(Config(tuning(raw, vary={"masks.eps.threshold": [0.3]}, **more)))
        return refused(lambda: plan.job("tune", {"dataset": dataset, "tuning": "mine"}))

    for split, reported in (("train", "train"), ("val", "val"), ("all_train", "train"), ("affinity", "train")):
        assert error(split=split) == (
            f"config: tunings.mine.split: '{split}' of data set 'demo' shares images with '{reported}', on which results are "
            "reported; name a held-out split, or set allow_scored: true"
        )
    tuning(raw, vary={"masks.eps.threshold": [0.3]}, split="val", allow_scored=True)
    assert "masks eps@val+threshold=0.3" in jobs(raw)
    assert (
        error(split="vall")
        == "config: tunings.mine.split: data set 'demo' has no split 'vall', did you mean 'val'? correct it"
    )
    put(raw, "datasets.voc.masks", None)
    assert error("voc") == "config: tunings.mine: data set 'voc' has no truth masks, so no number can be chosen on it"
    del raw["datasets"]["voc"]["use"]["thresholds"]
    assert error("voc").startswith(
        "config: tunings.mine: data set 'voc' has no split to choose on; name one in split, or"
    )


def test_a_grid_that_is_too_large(raw):
    values = [round(0.001 * step, 3) for step in range(501)]
    tuning(raw, vary={"masks.eps.threshold": values})
    plan = Plan(Config(raw))
    message = refused(lambda: plan.job("tune", {"dataset": "demo", "tuning": "mine"}))
    assert message.startswith("config: tunings.mine.vary: 501 points with 1 seeds are more than the 500 scores ")
    far = [
        f"classifiers.cam.recipe.{key}"
        for key in ("learning_rate", "weight_decay", "poly_power", "head_multiplier", "batch")
    ]
    tuning(raw, mask="cam_affinity", vary={key: [7] for key in far} | {"affinities.cam.recipe.bias_multiplier": [1.25]})
    refused(lambda: Config(raw).grid("demo", "mine"), "is too long for the name of a file; vary fewer numbers at once")


def test_the_maker_of_every_file_is_known(raw, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # where no data lie
    put(raw, "datasets.voc.systems", list(raw["systems"]))
    for dataset in ("demo", "voc"):
        plan = Plan(Config(raw))
        for stage, wildcards in plan.jobs(dataset, *plan.on_request(dataset)):
            assert {maker(path) == (stage, wildcards) for path in plan.outputs(stage, wildcards).values()} == {True}, (
                stage
            )
    assert maker("photos/seed-0/cat.png") is None
    assert maker("results/demo/pictures/curves.png") == ("curves", {"dataset": "demo"})


def test_lists_that_share_images_are_refused():
    index = SimpleNamespace(split={"held_out": ["a", "b", "c"], "val": ["x", "c"], "train": ["y"]}.__getitem__)
    settings = SimpleNamespace(tuning="mine", split="held_out", reported=["train", "val"])
    refused(lambda: tune._check_held_out(index, settings), "'held_out' shares 1 images with 'val'", "'c' among them")
    settings.reported = ["train"]
    tune._check_held_out(index, settings)


# A run

GRID = {"mask": "eps_crf", "vary": {"masks.eps_crf.crf.gaussian.1": [3, 6], "masks.eps_crf.threshold": [0.2, 0.4]}}
TABLE = "results/demo/tune/mine.csv"
ON_REQUEST = (TABLE, "results/demo/saliency.csv", "results/demo/pictures/saliency/eps.png")


@pytest.fixture(scope="module")
def tuned(tree, tmp_path_factory) -> Path:
    """The small demo with a tuning, and what EPS makes of the saliency maps."""
    folder = copy_tree(tree, tmp_path_factory.mktemp("tuned") / "tree")
    (folder / "mine.yaml").write_text(overlay_of(GRID))
    done = run(folder, *ON_REQUEST, configfiles=[*SMALL, "mine.yaml"])
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-6000:]
    return folder


def overlay_of(grid: dict) -> str:
    return json.dumps({"tunings": {"mine": grid}})


def rows(path: Path) -> list[dict[str, str]]:
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def test_the_table_holds_what_a_direct_computation_gives(tuned):
    results = tuned / "results" / "demo"
    index = read_index(str(results / "index.h5"), "demo")
    ids = index.split("thresholds")
    cams, truth = Reader(results / "seed-0/cams/eps.h5", "cam"), Reader(results / "truth.h5", "truth")
    images = Reader(results / "rendered" / "images.h5", "images")
    expected = {}
    for weight in (3, 6):
        for threshold in (0.2, 0.4):
            total = np.zeros((7, 7), np.int64)
            for identifier in ids:
                maps, image = cams.read(identifier), images.read(identifier)["image"]
                scores = constant_background(upsampled(maps["scores"], *image.shape[:2]), threshold)
                posterior = dense_crf(image, scores, (67, 3, 4), (1, weight), 10)
                total += confusion_matrix(to_label(posterior, maps["classes"]), truth.read(identifier)["label"], 7)
            expected[str(weight), str(threshold)] = f"{100 * mean_intersection_over_union(total):.2f}"
    table = rows(tuned / TABLE)
    assert list(table[0]) == [*GRID["vary"], "seed", "split", "images", "miou", "miou_std", "best", "configured"]
    for seed in ("0", "mean"):
        found = [row for row in table if row["seed"] == seed]
        assert {tuple(row[key] for key in GRID["vary"]): row["miou"] for row in found} == expected
    assert len(table) == 8 and {(row["split"], row["images"]) for row in table} == {("thresholds", str(len(ids)))}
    (best,) = (row for row in table if row["best"])
    assert best["seed"] == "mean" and float(best["miou"]) == max(map(float, expected.values()))
    (configured,) = (row for row in table if row["configured"])
    assert [configured[key] for key in GRID["vary"]] == ["3", "0.2"]
    with Image.open((tuned / TABLE).with_suffix(".png")) as picture:
        assert picture.width > 300


def again(folder: Path, grid: dict) -> set[str]:
    """Jobs of the tuning that would run with another grid."""
    (folder / "other.yaml").write_text(overlay_of(grid))
    return named(dry_run(folder, TABLE, configfiles=[*SMALL, "other.yaml"]))


def test_nothing_runs_again(tuned):
    assert again(tuned, GRID) == set()
    assert stale(tuned, tuned / "mine.yaml") == set()  # nor anything of the table


def test_one_changed_value_makes_its_points_and_the_table_stale(tuned):
    grid = {"mask": "eps_crf", "vary": GRID["vary"] | {"masks.eps_crf.threshold": [0.2, 0.5]}}
    points = ("threshold=0.5", "crf.gaussian.1=6+threshold=0.5")
    expected = {f"{rule} eps_crf@thresholds+{point}" for rule in ("masks", "score_masks") for point in points}
    assert again(tuned, grid) == expected | {"tune mine"}


def test_a_smaller_grid_gathers_alone(tuned):
    grid = {"mask": "eps_crf", "vary": {"masks.eps_crf.crf.gaussian.1": [3, 6]}}
    assert again(tuned, grid) == {"tune mine"}


def test_a_changed_base_makes_its_points_stale(tuned):
    change = tuned / "change.yaml"
    change.write_text('{"masks": {"eps_crf": {"crf": {"iterations": 9}}}}')
    found = named(dry_run(tuned, TABLE, configfiles=[*SMALL, "mine.yaml", "change.yaml"]))
    assert {job.split()[0] for job in found} == {"masks", "score_masks", "tune"} and len(found) == 9


def test_a_point_can_be_asked_for_by_its_name(tuned):
    """As a cluster's job asks for it."""
    name = "results/demo/seed-0/masks/eps_crf@thresholds+threshold=0.4.h5"
    done = run(tuned, name, configfiles=[*SMALL, "mine.yaml"], options=["--dry-run"])
    assert done.returncode == 0 and "Nothing to be done" in done.stdout + done.stderr
    other = run(tuned, name.replace("0.4", "0.7"), configfiles=[*SMALL, "mine.yaml"], options=["--dry-run"])
    assert (
        other.returncode != 0 and "masks has no block 'eps_crf@thresholds+threshold=0.7'" in other.stdout + other.stderr
    )


def test_verify_knows_what_was_asked_for(tuned):
    done = python(tuned, "-m", "workflow_scripts", "verify", "results/demo", "--configfile", *SMALL, "mine.yaml")
    assert (done.returncode, done.stdout) == (0, "results/demo: up to date\n")


# The picture


@pytest.mark.parametrize("values", [[[0.1, 0.2, 0.4]], [["1", "0.5,1"]], [[1, 2], [3, 4, 5]], [[1, 2], [3, 4], [5, 6]]])
@pytest.mark.parametrize("seeds", [1, 3])
def test_the_picture_of_one_two_and_more_numbers(values, seeds):
    points = [
        tuple(point) for point in np.array(np.meshgrid(*values, indexing="ij"), object).reshape(len(values), -1).T
    ]
    mious = np.random.RandomState(0).rand(len(points), seeds) * 100
    configured = [number == 1 for number in range(len(points))]
    keys = [f"masks.eps.key_{number}" for number in range(len(values))]
    content = grid_picture("mine: mIoU", keys, points, mious, configured)
    assert content == grid_picture("mine: mIoU", keys, points, mious, configured)
    picture = np.asarray(Image.open(io.BytesIO(content)).convert("RGB")).astype(int)
    red, blue = ((abs(picture - colour).sum(axis=-1) < 90).sum() for colour in ((214, 39, 40), (31, 119, 180)))
    assert red > 20 and blue > 20  # the best and the configured point


# EPS's estimate of the saliency


def test_the_estimate_of_the_demo_is_scored_beside_the_detector(tuned):
    results = tuned / "results" / "demo"
    ids = read_index(str(results / "index.h5"), "demo").split("train")
    truth = Reader(results / "truth.h5", "truth")
    detector, estimate = rows(results / "saliency.csv")
    assert [detector["map"], detector["name"], estimate["map"], estimate["name"]] == [
        "detector",
        "rendered",
        "estimate",
        "eps",
    ]
    for row, path in ((detector, "saliency/rendered.h5"), (estimate, "seed-0/saliency/eps.h5")):
        maps = Reader(results / path, "saliency")
        pairs = [(maps.read(identifier)["saliency"], truth.read(identifier)["label"]) for identifier in ids]
        assert float(row["foreground_iou"]) == pytest.approx(
            np.nanmean([foreground_iou(*pair) for pair in pairs]), abs=1e-4
        )
        assert (row["split"], row["images"], row["detector"]) == ("train", str(len(ids)), "rendered")
    with Image.open(results / "pictures/saliency/eps.png") as picture:
        assert picture.width > 300


def test_only_eps_estimates_saliency(raw):
    plan = Plan(Config(raw))
    names = {"dataset": "demo", "seed": "0", "cam": "cam"}
    refused(
        lambda: plan.job("estimated_saliency", names),
        "config: cams.cam: method 'cam' estimates no saliency; name a cam",
    )
    put(raw, "datasets.demo.systems", ["cam", "truth"])
    plan = Plan(Config(raw))
    assert not [path for path in plan.on_request("demo") if "estimated" in path or "pictures/saliency" in path]
    refused(
        lambda: plan.job("saliency_table", {"dataset": "demo"}), "datasets.demo.systems: none has a classifier that est"
    )
