"""The configuration: inheritance, typing, errors of one line, and that all of what is shipped can be planned."""

import copy
import json
import re
from pathlib import Path

import jsonschema
import pytest
import yaml

from workflow_scripts.config import systems
from workflow_scripts.config.fingerprint import canonical
from workflow_scripts.config.plan import Plan
from workflow_scripts.config.resolve import Config, merge, read_yaml
from workflow_scripts.config.schema import schema
from workflow_scripts.errors import UserError

ROOT = Path(__file__).resolve().parent.parent
OVERLAYS = sorted((ROOT / "configs").glob("*.yaml")) + [ROOT / "tests" / "small.yaml"]


@pytest.fixture(scope="module")
def shipped() -> dict:
    return read_yaml(ROOT / "config.yaml")


@pytest.fixture
def raw(shipped) -> dict:
    """config.yaml as plain values, to change."""
    return copy.deepcopy(shipped)


def put(raw: dict, dotted: str, value) -> dict:
    """Set the value at 'classifiers.cam.recipe.batch'."""
    *path, last = dotted.split(".")
    inside = raw
    for key in path:
        inside = inside.setdefault(key, {})
    inside[last] = value
    return raw


def error_of(raw: dict) -> str:
    """The one line that a wrong configuration is answered with."""
    with pytest.raises(UserError) as caught:
        Config(raw)
    message = str(caught.value)
    assert "\n" not in message and message.startswith("config: ") and len(message) < 300
    return message


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
    assert block.method == "eps" and block.options.selection == "naive" and block.saliency == "supplied"
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
    put(raw, "datasets.demo.overrides.classifiers.cam.recipe.weight_decay", 0.125)
    after = Config(raw)
    for name in before.names("demo", "classifiers"):
        assert after.block("demo", "classifiers", name).recipe.weight_decay == 0.125
        assert after.block("voc", "classifiers", name) == before.block("voc", "classifiers", name)


def test_an_override_does_not_undo_what_an_heir_says_itself(raw):
    put(raw, "datasets.voc.overrides", {"masks": {"eps": {"threshold": 0.3}}, "cams": {"cam": {"flip": False}}})
    put(raw, "cams.eps.flip", True)
    config = Config(raw)
    assert config.block("voc", "masks", "eps_crf").threshold == 0.3
    assert config.block("voc", "masks", "cam").threshold == 0.2
    assert config.block("voc", "cams", "eps_naive").flip is False
    assert config.block("voc", "cams", "eps").flip is True


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
    """Seeds without a segmenter make no maps of the training images, but for an affinity network that learns there."""
    put(raw, "datasets.demo.seeds", [0, 1])
    put(raw, "datasets.demo.segmentation_seeds", [0])
    put(raw, "datasets.demo.systems", ["cam_affinity", "eps"])
    put(raw, "datasets.demo.use.affinity", None)

    def splits(stage: str, seed: str, **names: str) -> list[str]:
        return Plan(Config(raw)).job(stage, {"dataset": "demo", "seed": seed, **names}).settings["splits"]

    assert splits("cams", "0", cam="eps") == ["all_train", "thresholds", "train"]
    assert splits("cams", "1", cam="eps") == ["thresholds", "train"]
    assert splits("cams", "1", cam="cam") == ["all_train", "thresholds", "train"]
    assert splits("masks", "0", mask="eps") == ["all_train", "train"]
    assert splits("masks", "1", mask="eps") == ["train"]
    assert splits("masks", "0", mask="cam_affinity") == ["train"]  # whose system has no segmenter here
    assert splits("masks", "0", mask="cam_crf") == ["all_train", "train"]  # of no system: asked for by name
    names = {"dataset": "demo", "seed": "0", "mask": "cam_affinity", "segmenter": "large_fov"}
    with pytest.raises(UserError, match="no system trains a segmenter on masks 'cam_affinity' with seed 0; give"):
        Plan(Config(raw)).job("train_segmenter", names)
    put(raw, "datasets.demo.use.affinity", "affinity")
    assert splits("cams", "1", cam="cam") == ["affinity", "thresholds", "train"]
    labels = Plan(Config(raw)).job("affinity_labels", {"dataset": "demo", "seed": "1", "affinity": "cam"})
    assert labels.settings["split"] == "affinity"


def test_only_a_system_that_learns_from_truth_reads_it_for_training(raw):
    """A user's own training images have labels and no masks."""

    def splits() -> list[str]:
        return Plan(Config(raw)).job("truth", {"dataset": "demo"}).settings["splits"]

    assert splits() == ["all_train", "thresholds", "train", "val"]
    put(raw, "datasets.demo.systems", ["cam"])
    assert splits() == ["thresholds", "train", "val"]


def test_merge_leaves_its_arguments_alone():
    base, change = {"a": {"b": 1, "c": 2}}, {"a": {"b": None, "d": 3}}
    assert merge(base, change) == {"a": {"c": 2, "d": 3}}
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


# What a user may get wrong. Every line names the place, and the way out.

WRONG = {
    "section": ("segmentors", {}, "config: unknown key 'segmentors', did you mean 'segmenters'?"),
    "block": ("masks.eps.treshold", 0.3, "config: masks.eps: unknown key 'treshold', did you mean 'threshold'?"),
    "part": (
        "classifiers.cam.recipe.learning_rat",
        1,
        "config: classifiers.cam.recipe: unknown key 'learning_rat', did you mean 'learning_rate'?",
    ),
    "deep part": (
        "classifiers.cam.recipe.jitter.hew",
        1,
        "config: classifiers.cam.recipe.jitter: unknown key 'hew', did you mean 'hue'?",
    ),
    "options of another method": (
        "classifiers.eps.options.dropout",
        0.5,
        "config: classifiers.eps.options: unknown key 'dropout', known: foreground_weight, ",
    ),
    "data set": ("datasets.voc.mask", "x", "config: datasets.voc: unknown key 'mask', did you mean 'masks'?"),
    "split": (
        "datasets.voc.splits.val.fist",
        3,
        "config: datasets.voc.splits.val: unknown key 'fist', did you mean 'first'?",
    ),
    "use": ("datasets.voc.use.trains", "val", "config: datasets.voc.use: unknown key 'trains', did you mean 'train'?"),
    "system": ("systems.eps.mesk", "eps", "config: systems.eps: unknown key 'mesk', did you mean 'mask'?"),
    "published": (
        "systems.eps.published",
        [{"dataset": "voc", "split": "val", "stage": "mask", "mlou": 3, "source": "x"}],
        "config: systems.eps.published.0: unknown key 'mlou', did you mean 'miou'?",
    ),
    "overridden kind": (
        "datasets.voc.overrides.cam",
        {},
        "config: datasets.voc.overrides: unknown key 'cam', did you mean 'cams'?",
    ),
    "overridden block": (
        "datasets.voc.overrides.cams.epx",
        {},
        "config: datasets.voc.overrides.cams: no block 'epx', did you mean 'eps'?",
    ),
    "overridden key": (
        "datasets.voc.overrides.cams.eps.scale",
        [1],
        "config: cams.eps: unknown key 'scale', did you mean 'scales'?",
    ),
    # Wrong types and ranges
    "word for a number": (
        "classifiers.cam.recipe.batch",
        "many",
        "config: classifiers.cam.recipe.batch: input should be a valid integer",
    ),
    "part for a number": (
        "classifiers.cam.recipe.batch",
        {"size": 3},
        "config: classifiers.cam.recipe.batch: ",
    ),
    "number for a part": ("classifiers.eps_momentum.recipe", 3, "config: classifiers.eps_momentum.recipe: "),
    "number for a list": ("cams.cam.scales", 1, "config: cams.cam.scales: input should be a valid tuple, found 1"),
    "word in a list": ("cams.cam.scales", [1, "x"], "config: cams.cam.scales.1: "),
    "word for a boolean": ("cams.cam.flip", "maybe", "config: cams.cam.flip: input should be a valid boolean"),
    "negative": (
        "classifiers.cam.recipe.batch",
        -1,
        "config: classifiers.cam.recipe.batch: input should be greater than 0, found -1",
    ),
    "share": ("masks.eps.threshold", 1.5, "config: masks.eps.threshold: input should be less than or equal to 1"),
    "choice": (
        "classifiers.eps.options.selection",
        "adapted",
        "config: classifiers.eps.options.selection: input should be 'adaptive', 'naive', 'predefined' or 'none', found",
    ),
    "method": ("classifiers.cam.method", "seam", "config: classifiers.cam: "),
    "rule": ("masks.eps.rule", "constnt", "config: masks.eps: "),
    "kind": ("datasets.voc.kind", "coco", "config: datasets.voc: "),
    "threshold from elsewhere": (
        "masks.eps.threshold",
        {"chosen_on": "val"},
        "config: masks.eps.threshold.chosen_on: input should be 'thresholds', found 'val'",
    ),
    "one of three scales": ("masks.eps_crf.crf.bilateral", [80, 13], "config: masks.eps_crf.crf.bilateral"),
    "block that is no mapping": ("masks.mine", 3, "config: masks: expected named blocks, each a mapping"),
    "section that is no mapping": ("masks", ["eps"], "config: masks: expected named blocks, each a mapping"),
    # Names
    "name of a block": ("masks.eps/one", {"rule": "truth"}, "config: masks: 'eps/one' is no name: "),
    "name of a data set": ("datasets.../up", {}, "config: datasets: "),
    "name of a split": ("datasets.voc.splits", {"a-b": {"ids": "x"}}, "config: datasets.voc.splits.a-b: 'a-b' is no "),
    "name that starts with _": ("systems._eps", {"mask": "eps"}, "config: systems: '_eps' is no name: "),
    # References
    "saliency": ("classifiers.eps.saliency", "suplied", "config: classifiers.eps.saliency: saliency has no block"),
    "classifier": (
        "cams.eps.classifier",
        "epps",
        "config: cams.eps.classifier: classifiers has no block 'epps', did you",
    ),
    "cam": ("masks.eps.cam", "epps", "config: masks.eps.cam: cams has no block 'epps', did you mean 'eps'?"),
    "prediction": (
        "predictions.multi_crf.prediction",
        "multy",
        "config: predictions.multi_crf.prediction: predictions has no block 'multy', did you mean 'multi'?",
    ),
    "mask of a system": (
        "systems.eps.mask",
        "esp",
        "config: systems.eps.mask: masks has no block 'esp', did you mean 'eps'?",
    ),
    "prediction of a system": (
        "systems.eps.predictions",
        ["single", "doubly"],
        "config: systems.eps.predictions: predictions has no block 'doubly'",
    ),
    "base": ("masks.eps_crf.base", "esp", "config: masks.eps_crf.base: no block 'esp', did you mean 'eps'?"),
    "base in a circle": (
        "classifiers.cam.base",
        "eps_naive",
        "config: classifiers: base goes in a circle: cam -> eps_naive -> eps -> cam",
    ),
    "base of itself": ("cams.cam.base", "cam", "config: cams: base goes in a circle: cam -> cam"),
    "crf of a crf": (
        "predictions.twice",
        {"base": "multi_crf", "prediction": "multi_crf"},
        "config: predictions.twice.prediction: 'multi_crf' holds no soft scores",
    ),
    "learnt background of cam": (
        "masks.eps_learnt.cam",
        "cam",
        "config: masks.eps_learnt: method 'cam' learns no background map, use rule 'constant'",
    ),
    # Systems and data sets
    "system of a data set": (
        "datasets.voc.systems",
        ["cam", "epps"],
        "config: datasets.voc.systems: no system 'epps', did you mean 'eps'?",
    ),
    "system named as another picture": (
        "datasets.voc",
        {"base": "demo", "systems": ["curves"]},
        "config: datasets.voc.systems: 'curves' is the name of another picture",
    ),
    "split in use": (
        "datasets.voc.use.masks",
        "trian",
        "config: datasets.voc.use.masks: no split 'trian', did you mean",
    ),
    "evaluation split": (
        "datasets.voc.use.evaluation",
        ["vall"],
        "config: datasets.voc.use.evaluation: no split 'vall'",
    ),
    "split of another": (
        "datasets.voc.splits.thresholds.of",
        "tain",
        "config: datasets.voc.splits.thresholds.of: no split 'tain', did you mean 'train'?",
    ),
    "splits in a circle": (
        "datasets.demo.splits.all_train",
        {"of": "train"},
        "config: datasets.demo.splits: cycle ",
    ),
    "split of two sources": (
        "datasets.voc.splits.val.of",
        "train",
        "config: datasets.voc.splits.val: a split has exactly one of ids, images, of",
    ),
    "no seed": ("datasets.voc.seeds", [], "config: datasets.voc.seeds: empty, name at least one"),
    "seeds of the segmentation": (
        "datasets.voc.segmentation_seeds",
        [7],
        "config: datasets.voc.segmentation_seeds: [7] are not all among seeds [0]",
    ),
    "class twice": ("datasets.voc.classes", ["cat", "cat"], "config: datasets.voc.classes: a class is listed twice"),
    "class missing": ("datasets.voc.classes", None, "config: datasets.voc.classes: "),
    "system without an end": (
        "systems.eps",
        {"cam": "eps", "mask": "eps"},
        "config: systems.eps: a system names a mask (its cam follows) or, to end there, a cam",
    ),
    "segmenter without predictions": (
        "systems.eps.predictions",
        [],
        "config: systems.eps: segmenter and predictions go together",
    ),
}


@pytest.mark.parametrize(("key", "value", "message"), WRONG.values(), ids=WRONG)
def test_one_line_says_what_is_wrong(raw, key, value, message):
    put(raw, "systems.curves", {"mask": "eps"})
    assert error_of(put(raw, key, value)).startswith(message)


def test_a_key_that_no_base_gives(raw):
    del raw["classifiers"]["cam"]["recipe"]["crop"]
    assert error_of(raw) == "config: classifiers.cam.recipe.crop: missing, and no base gives it"
    raw["classifiers"]["cam"]["recipe"]["crop"] = 448
    del raw["masks"]["eps"]["threshold"]
    assert error_of(raw) == "config: masks.eps.threshold: missing, and no base gives it"


def plan_error(raw: dict, dataset: str) -> str:
    plan = Plan(Config(raw))
    with pytest.raises(UserError) as caught:
        list(plan.jobs(dataset))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_predefined_class_that_the_data_set_lacks(raw):
    put(raw, "datasets.demo.systems", ["eps_predefined"])
    message = plan_error(raw, "demo")
    assert message.startswith(
        "config: classifiers.eps_predefined.options.predefined_background: data set 'demo' has no "
    )
    assert "'sofa'" in message


def test_a_chosen_threshold_without_a_split_to_choose_it_on(raw):
    del raw["datasets"]["voc"]["use"]["thresholds"]
    put(raw, "datasets.voc.systems", ["eps_chosen"])
    assert plan_error(raw, "voc") == (
        "config: masks.eps_chosen.threshold: data set 'voc' has no split for it in use.thresholds"
    )


def test_no_truth_to_score_with(raw):
    put(raw, "datasets.voc.masks", None)
    assert plan_error(raw, "voc").startswith("config: datasets.voc.masks is null: there is no truth to read")


def test_asking_for_what_is_not_there(raw):
    config = Config(raw)
    with pytest.raises(UserError, match="^config: no data set 'demmo', did you mean 'demo'\\?$"):
        config.dataset("demmo")
    with pytest.raises(UserError, match="^config: cams has no block 'cma', did you mean 'cam'\\?$"):
        config.block("demo", "cams", "cma")
    with pytest.raises(UserError, match="^config: systems has no block 'tru', did you mean 'truth'\\?$"):
        Plan(config).job("montage", {"dataset": "demo", "system": "tru"})


# Files


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("datasets: [", r"not valid YAML \("),
        ("a: b: c", r"not valid YAML \("),
        ("- 1\n- 2\n", "holds no mapping of sections"),
        ("", "holds no mapping of sections"),
        ("a: !!python/object/apply:os.getcwd []", r"not valid YAML \("),
    ],
)
def test_a_file_that_is_no_configuration(tmp_path, text, message):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=message) as caught:
        Config.load(path)
    assert str(caught.value).startswith(f"{path}: ") and "\n" not in str(caught.value)


def test_bytes_that_are_no_text_and_a_missing_file(tmp_path):
    (tmp_path / "mine.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="not valid YAML"):
        Config.load(tmp_path / "mine.yaml")
    with pytest.raises(UserError, match="cannot be read .*; name an existing YAML file"):
        Config.load(tmp_path / "missing.yaml")


# What is shipped


@pytest.mark.parametrize("overlay", [None, *OVERLAYS], ids=lambda path: path.name if path else "config.yaml")
def test_every_system_of_every_data_set_can_be_planned(overlay, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # where no data lie, and digests of sources may be kept
    config = Config.load(*[ROOT / "config.yaml", overlay][: 2 if overlay else 1])
    for name in config.datasets:
        made: set[str] = set()
        plan = Plan(config)
        for stage, wildcards in plan.jobs(name):
            job = plan.job(stage, wildcards)
            parents = [path for value in job.inputs.values() for path in ([value] if isinstance(value, str) else value)]
            assert {path for path in parents if path.startswith("results/")} <= made, "inputs come before their users"
            made |= set(plan.outputs(stage, wildcards).values())
            assert json.loads(plan.settings(stage, wildcards)) is not None
            assert re.fullmatch("[0-9a-f]{32}", plan.code(stage, wildcards))
        assert made >= set(plan.targets(name))
        stages = {row["stage"] for system in config.dataset(name).systems for row in systems.rows(config, name, system)}
        assert stages == {"cam", "mask", "segmentation", "segmentation_crf"}


def test_any_system_can_be_used_on_any_data_set(raw, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("demo", "voc"):
        systems = [system for system in raw["systems"] if (name, system) != ("demo", "eps_predefined")]
        plan = Plan(Config(put(raw, f"datasets.{name}.systems", systems)))
        made = {path for stage, names in plan.jobs(name) for path in plan.outputs(stage, names).values()}
        assert {f"results/{name}/pictures/{system}.png" for system in systems} <= made


def test_the_schema_for_editors_is_that_of_the_types(shipped):
    written = json.loads((ROOT / "docs" / "config.schema.json").read_text(encoding="utf-8"))
    assert written == schema(), "make schema writes it anew"
    validator = jsonschema.Draft202012Validator(written)
    validator.check_schema(written)
    for data in [shipped, *map(read_yaml, OVERLAYS)]:
        assert [f"{error.json_path}: {error.message}" for error in validator.iter_errors(data)] == []


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("segmentors", {}),
        ("masks.eps.treshold", 0.3),
        ("classifiers.cam.recipe.learning_rat", 1),
        ("classifiers.cam.recipe.batch", "many"),
        ("datasets.voc.mask", "x"),
        ("systems.eps.mesk", "eps"),
    ],
)
def test_the_schema_refuses_what_the_types_refuse(raw, key, value):
    assert not jsonschema.Draft202012Validator(schema()).is_valid(put(raw, key, value))


def test_every_number_is_explained():
    """A number of a block has a comment on its line, or on the line of the key that holds it."""
    silent, section = [], ""
    above: list[tuple[int, str]] = []  # indentation and line of the keys that a line is in
    for number, line in enumerate((ROOT / "config.yaml").read_text(encoding="utf-8").splitlines(), start=1):
        indentation = len(line) - len(line.lstrip())
        above = [(depth, holder) for depth, holder in above if depth < indentation]
        section = line.split(":")[0] if re.match(r"\w", line) else section
        value = line.partition("#")[0].partition(":")[2]
        if section not in {"systems", "datasets"} and re.search(r"(?<![\w.])\d", value):
            if "#" not in line and "#" not in above[-1][1]:
                silent.append(f"{number}: {line.strip()}")
        above.append((indentation, line))
    assert silent == []
