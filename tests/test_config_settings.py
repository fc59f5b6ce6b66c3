"""What blocks and jobs are given: inheritance, overrides, the splits of a job, and equal settings in equal text."""

from pathlib import Path

import pytest
import yaml
from conftest import put

from workflow_scripts.base.errors import UserError
from workflow_scripts.config.fingerprint import canonical
from workflow_scripts.config.planning.plan import Plan
from workflow_scripts.config.planning.rules import Rules
from workflow_scripts.config.resolve import Config, merge

# Inheritance


def test_a_block_holds_what_its_base_does_but_for_what_it_changes(raw):
    config = Config(raw)
    cam, momentum = (config.block("voc", "classifiers", name).model_dump() for name in ("cam", "cam_momentum"))
    assert momentum["recipe"]["momentum"] == 0.9 and momentum["recipe"]["learning_rate"] == 0.001
    assert momentum | {"recipe": cam["recipe"]} == cam
    assert momentum["recipe"] | {"momentum": 5e-4, "learning_rate": 0.01} == cam["recipe"]


def test_inheritance_goes_over_several_blocks_and_deep(raw):
    put(raw, "classifiers.eps_strict", {"base": "eps_naive", "recipe": {"jitter": {"hue": 0.2}}})
    block = Config(raw).block("voc", "classifiers", "eps_strict")
    assert block.method == "eps" and block.options.selection == "naive" and block.saliency == "u2net"
    assert block.recipe.jitter.model_dump() == {"brightness": 0.3, "contrast": 0.3, "saturation": 0.3, "hue": 0.2}
    assert block.recipe.crop == 448


def test_null_takes_an_inherited_key_away(raw):
    config = Config(raw)
    assert "dropout" in config.block("voc", "classifiers", "cam").options.model_dump()
    assert "dropout" not in config.block("voc", "classifiers", "eps").options.model_dump()
    put(raw, "masks.plain", {"base": "eps_crf", "crf": None})
    assert Config(raw).block("voc", "masks", "plain").crf is None


def test_lists_are_replaced_not_joined(raw):
    put(raw, "cams.single", {"base": "cam", "scales": [1]})
    assert Config(raw).block("voc", "cams", "single").scales == (1.0,)


def test_an_override_of_a_base_flows_to_its_heirs_of_that_data_set_alone(raw):
    before = Config(raw)
    put(raw, "datasets.demo.overrides.classifiers.base_cnn.recipe.weight_decay", 0.125)
    after = Config(raw)
    for name in before.names("demo", "classifiers"):
        says_itself = (
            before.block("demo", "classifiers", name).method in {"seenet", "mctformer"} or name == "cam_resnet50"
        )
        if not says_itself:
            assert after.block("demo", "classifiers", name).recipe.weight_decay == 0.125
        assert after.block("voc", "classifiers", name) == before.block("voc", "classifiers", name)


def test_an_override_does_not_undo_what_an_heir_says_itself(raw):
    put(raw, "datasets.voc.overrides", {"masks": {"eps": {"threshold": 0.3}}, "cams": {"base": {"flip": False}}})
    put(raw, "cams.eps_resnet38", {"flip": True})
    config = Config(raw)
    assert config.block("voc", "masks", "eps_crf").threshold == 0.3
    assert config.block("voc", "masks", "cam").threshold == 0.2
    assert config.block("voc", "cams", "eps_naive").flip is False
    assert config.block("voc", "cams", "eps_resnet38").flip is True


def test_data_sets_and_systems_inherit_too(raw):
    put(raw, "datasets.voc_three", {"base": "voc", "seeds": [0, 1, 2], "masks": None})
    put(raw, "systems.again", {"base": "eps", "published": []})
    config = Config(raw)
    assert config.dataset("voc_three").seeds == (0, 1, 2) and config.dataset("voc_three").masks is None
    assert config.dataset("voc_three").classes == config.dataset("voc").classes
    again = config.block("voc", "systems", "again")
    assert again.mask == "eps" and again.published == ()


def test_a_data_set_changes_systems_for_itself(raw):
    put(raw, "datasets.voc.overrides.systems.eps", {"segmenter": None, "predictions": []})
    config = Config(raw)
    assert config.block("voc", "systems", "eps").segmenter is None
    assert config.block("demo", "systems", "eps").segmenter == "large_fov"


def test_maps_are_made_for_what_learns_from_them(raw):
    """Seeds without a segmenter make no maps of the training images, unless affinity networks learn there.

    Systems do not count: one more makes no map stale.
    """
    put(raw, "datasets.demo.seeds", [0, 1])
    put(raw, "datasets.demo.segmentation_seeds", [0])
    put(raw, "datasets.demo.systems", ["cam_affinity", "eps"])

    def splits(stage: str, seed: str, **names: str) -> list[str]:
        return Plan(Config(raw)).job(stage, {"dataset": "demo", "seed": seed, **names}).settings["splits"]

    for cam in ("cam", "eps", "eps_naive"):
        assert splits("cams", "0", cam=cam) == ["affinity", "all_train", "thresholds", "train"]
        assert splits("cams", "1", cam=cam) == ["affinity", "thresholds", "train"]
    assert splits("masks", "0", mask="eps") == ["all_train", "train"]
    assert splits("masks", "1", mask="eps") == ["train"]
    assert splits("masks", "0", mask="cam_affinity") == ["train"]  # whose system has no segmenter here
    assert splits("masks", "0", mask="cam_crf") == ["all_train", "train"]  # of no system: asked for by name
    names = {"dataset": "demo", "seed": "0", "mask": "cam_affinity", "segmenter": "large_fov"}
    with pytest.raises(UserError, match="no system trains a segmenter on masks 'cam_affinity' with seed 0; give"):
        Plan(Config(raw)).job("train_segmenter", names)
    labels = {"dataset": "demo", "seed": "1", "affinity": "cam"}
    assert Plan(Config(raw)).job("affinity_labels", labels).settings["split"] == "affinity"
    put(raw, "datasets.demo.use.affinity", None)
    assert splits("cams", "1", cam="cam") == ["all_train", "thresholds", "train"]
    assert Plan(Config(raw)).job("affinity_labels", labels).settings["split"] == "all_train"


def test_only_a_system_that_learns_from_truth_reads_it_for_training(raw):
    """A user's own training images have labels and no masks."""

    def splits() -> list[str]:
        return Plan(Config(raw)).job("truth", {"dataset": "demo"}).settings["splits"]

    assert splits() == ["all_train", "thresholds", "train", "val"]
    put(raw, "datasets.demo.systems", ["cam"])
    assert splits() == ["thresholds", "train", "val"]
    put(raw, "datasets.demo.systems", ["cam", "truth"])
    put(raw, "systems.truth", {"mask": "truth"})  # scored, but nothing learns from it
    assert splits() == ["thresholds", "train", "val"]


class Wildcards(dict):
    """As Snakemake hands them to a rule's functions."""

    __getattr__ = dict.__getitem__


def test_only_jobs_that_run_a_network_ask_for_a_gpu(raw):
    put(raw, "datasets.voc.gpus", 2)
    rules = Rules(raw)

    def gpus(stage: str, dataset: str = "voc", **names: str) -> int:
        return rules.gpus(stage)(Wildcards(dataset=dataset, seed="0", **names))

    trained = {"mask": "eps", "segmenter": "large_fov"}
    assert gpus("train_classifier", classifier="eps") == gpus("train_affinity", affinity="cam") == 2
    assert gpus("train_saliency", saliency="rendered") == gpus("train_saliency", saliency="distilled") == 2
    assert gpus("train_segmenter", **trained) == 2
    assert gpus("classification", classifier="cam") == gpus("cams", cam="eps") == 1
    assert gpus("saliency", saliency="rendered") == gpus("saliency", saliency="dss_published") == 1
    assert gpus("masks", mask="cam_affinity") == gpus("masks", mask="cam_irn") == 1
    assert gpus("predictions", **trained, prediction="multi") == 1
    assert gpus("saliency", saliency="supplied") == 0  # a folder of maps
    assert gpus("saliency", saliency="u2net") == gpus("saliency", saliency="hand_made") == 0
    assert {gpus("masks", mask=name) for name in ("cam", "eps_crf", "eps_learnt", "truth")} == {0}
    assert gpus("predictions", **trained, prediction="multi_crf") == 0
    assert gpus("cams", "demo", cam="eps") == 0


def test_a_gpu_is_fed_by_as_many_processes_as_the_data_set_has_workers(raw):
    put(raw, "datasets.voc.torch_threads", 3)
    put(raw, "datasets.voc.workers", 5)
    names = {"dataset": "voc", "seed": "0", "classifier": "cam"}
    assert Rules(raw).training_threads("train_classifier")(Wildcards(names)) == 5
    put(raw, "datasets.voc.workers", 2)
    assert Rules(raw).training_threads("train_classifier")(Wildcards(names)) == 3
    put(raw, "datasets.voc.workers", 5)
    put(raw, "datasets.voc.gpus", 0)  # one process keeps torch's threads of a CPU busy; as many as these there are
    assert Rules(raw).training_threads("train_classifier")(Wildcards(names)) == 3


def test_without_truth_there_are_pictures_and_no_table(raw):
    put(raw, "datasets.voc.masks", None)
    put(raw, "datasets.voc.use.thresholds", None)
    put(raw, "datasets.voc.systems", ["cam", "eps_learnt"])
    plan = Plan(Config(raw))
    assert [Path(path).name for path in plan.targets("voc")] == [
        "curves.png",
        "thresholds.png",
        "cam.png",
        "eps_learnt.png",
    ]
    stages = {stage for stage, _ in plan.jobs("voc")}
    assert {"index", "cams", "masks", "montage"} <= stages and not stages & {"truth", "miou", "score_masks"}


def test_merge_leaves_its_arguments_alone():
    base, change = {"a": {"b": 1, "c": 2}}, {"a": {"b": None, "d": 3}}
    assert merge(base, change) == {"a": {"b": None, "c": 2, "d": 3}}
    assert base == {"a": {"b": 1, "c": 2}} and change == {"a": {"b": None, "d": 3}}


# Equal settings, equal text


def settings_of(raw: dict) -> dict[tuple, str]:
    """The settings that every job of the demo runs under."""
    plan = Plan(Config(raw))
    return {(stage, *sorted(names.items())): plan.settings(stage, names) for stage, names in plan.jobs("demo")}


def reordered(value):
    if isinstance(value, dict):
        return {key: reordered(item) for key, item in reversed(value.items())}
    return [reordered(item) for item in value] if isinstance(value, list) else value


def test_settings_do_not_depend_on_the_order_of_keys(raw):
    assert settings_of(reordered(raw)) == settings_of(raw)


def test_canonical_text():
    assert canonical({"b": [1, 2.0], "a": {"ü": None, "c": True}}) == '{"a":{"c":true,"\\u00fc":null},"b":[1,2.0]}'
    with pytest.raises(ValueError):
        canonical({"a": float("nan")})


@pytest.mark.parametrize("text", ["1e-4", "1.0e-4", "0.0001", "'0.0001'", "0.1e-3"])
def test_ways_to_write_a_number(raw, text):
    """YAML 1.1 takes 1e-4 for a string."""
    expected = settings_of(put(raw, "classifiers.cam.recipe.weight_decay", 0.0001))
    assert settings_of(put(raw, "classifiers.cam.recipe.weight_decay", yaml.safe_load(text))) == expected


@pytest.mark.parametrize(
    ("key", "whole", "decimal"),
    [
        ("classifiers.eps.options.saliency_weight", 1, 1.0),
        ("datasets.demo.overrides.cams.cam.scales", [1, 2], [1.0, 2.0]),
        ("datasets.demo.overrides.classifiers.cam.recipe.batch", 16, 16.0),
        ("datasets.demo.montage", 6, 6.0),
    ],
)
def test_1_and_1_point_0_are_equal(raw, key, whole, decimal):
    expected = settings_of(put(raw, key, whole))
    assert settings_of(put(raw, key, decimal)) == expected
