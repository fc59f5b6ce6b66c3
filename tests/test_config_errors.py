"""What a user may get wrong in the configuration: every line names the place, and the way out."""

import pytest
from conftest import put, refused

from workflow_scripts.base.errors import UserError
from workflow_scripts.config.planning.plan import Plan
from workflow_scripts.config.resolve import Config


def error_of(raw: dict) -> str:
    """The one line that a wrong configuration is answered with."""
    message = refused(lambda: Config(raw))
    assert message.startswith("config: ") and len(message) < 300
    return message


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
    "number for a list": (
        "cams.cam.scales",
        1,
        "config: cams.cam.scales: input should be a list, such as [a, b], found 1",
    ),
    "keys for a list": (
        "cams.cam.scales",
        {"a": 1},
        "config: cams.cam.scales: input should be a list, such as [a, b], found {'a': 1}",
    ),
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
    "method": (
        "classifiers.cam.method",
        "seam",
        "config: classifiers.cam.method: there is no 'seam', did you mean 'cam'?",
    ),
    "rule": ("masks.eps.rule", "constnt", "config: masks.eps.rule: there is no 'constnt', did you mean 'constant'?"),
    "text for a part": (
        "classifiers.eps.backbone",
        "tiny",
        "config: classifiers.eps.backbone: input should be keys with values, ",
    ),
    "base that is no text": (
        "masks.eps.base",
        ["cam"],
        "config: masks.eps.base: expected the name of a block, found ['cam']",
    ),
    "kind": ("datasets.voc.kind", "coco", "config: datasets.voc: "),
    "threshold from elsewhere": (
        "masks.eps.threshold",
        {"chosen_on": "val"},
        "config: masks.eps.threshold.chosen_on: input should be 'thresholds', found 'val'",
    ),
    "one of three scales": ("masks.eps_crf.crf.bilateral", [80, 13], "config: masks.eps_crf.crf.bilateral"),
    "block that is no mapping": (
        "masks.mine",
        3,
        "config: masks.mine: expected a block, such as {base: mine}, found 3",
    ),
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
        "classifiers.eps.base",
        "eps_naive",
        "config: classifiers.eps.base: goes in a circle: eps -> eps_naive -> eps",
    ),
    "base of itself": ("cams.cam.base", "cam", "config: cams.cam.base: goes in a circle: cam -> cam"),
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
    "random walk along edges": (
        "masks.cam_affinity.affinity",
        "cam_irn",
        "config: masks.cam_affinity.affinity: rule 'random_walk' walks along network 'affinity_net', 'cam_irn' has ",
    ),
    "edge walk without edges": (
        "masks.cam_irn.affinity",
        "cam",
        "config: masks.cam_irn.affinity: rule 'edge_walk' walks along network 'irn', 'cam' has 'affinity_net'; ",
    ),
    "stride of an affinity network": (
        "affinities.cam.backbone.stride",
        16,
        "config: affinities.cam.backbone.stride: network 'affinity_net' joins features of stride 8, found 16; set 8",
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
    "part of no other split": (
        "datasets.voc.splits.val.first",
        5,
        "config: datasets.voc.splits.val: without and first take from another split: name it with of",
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
    "split to be rendered of files": (
        "datasets.voc.splits.val",
        {"images": 10},
        "config: datasets.voc.splits.val.images: not for kind 'voc'; give ids or of instead",
    ),
    "split of files to be rendered": (
        "datasets.demo.splits.val",
        {"ids": "val.txt"},
        "config: datasets.demo.splits.val.ids: not for kind 'synthetic'; give images or of instead",
    ),
    "negative seed": (
        "datasets.voc.seeds",
        [0, -1],
        "config: datasets.voc.seeds.1: input should be greater than or equal to 0, found -1",
    ),
    "negative seed of the segmentation": (
        "datasets.voc.segmentation_seeds",
        [-1],
        "config: datasets.voc.segmentation_seeds.0: input should be greater than or equal to 0, found -1",
    ),
    "negative seed of the renderer": (
        "datasets.demo.seed",
        -1,
        "config: datasets.demo.seed: input should be greater than or equal to 0, found -1",
    ),
    "truth value for a number": (
        "classifiers.cam.recipe.batch",
        True,
        "config: classifiers.cam.recipe.batch: input should be a number, found True; YAML reads yes, no, on, ",
    ),
    "truth value in a list of numbers": (
        "datasets.voc.seeds",
        [0, False],
        "config: datasets.voc.seeds.1: input should be a",
    ),
    "no kind": (
        "datasets.voc.kind",
        None,
        "config: datasets.voc.kind: missing, as datasets.voc.kind is null; give it a value",
    ),
    "a section that is null": (
        "systems",
        None,
        "config: systems is null, which takes all its blocks away; take the null away, or set single blocks to null; "
        "without them: systems.eps_affinity: segmenter and predictions go together; give both or neither",
    ),
    "no seed": ("datasets.voc.seeds", [], "config: datasets.voc.seeds: empty, name at least one"),
    "seeds of the segmentation": (
        "datasets.voc.segmentation_seeds",
        [7],
        "config: datasets.voc.segmentation_seeds: [7] are not all among seeds [0]",
    ),
    "class twice": ("datasets.voc.classes", ["cat", "cat"], "config: datasets.voc.classes: 'cat' is listed 2 times"),
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
    del raw["classifiers"]["base_cnn"]["recipe"]["crop"]
    assert error_of(raw) == "config: classifiers.cam_vgg16.recipe.crop: missing, and no base gives it; add it"
    raw["classifiers"]["base_cnn"]["recipe"]["crop"] = None
    message = "config: classifiers.cam_vgg16.recipe.crop: missing, as classifiers.base_cnn.recipe.crop is null; give it a value"
    assert error_of(raw) == message
    raw["classifiers"]["base_cnn"]["recipe"]["crop"] = 448
    del raw["masks"]["eps"]["threshold"]
    assert error_of(raw) == "config: masks.eps.threshold: missing, and no base gives it; add it"


@pytest.mark.parametrize("name", ["demo", "voc"])
def test_a_shipped_data_set_is_taken_away(raw, name):
    """Tables and masks that speak of it as well are there for the other data sets."""
    config = Config(put(raw, f"datasets.{name}", None))
    assert name not in config.datasets and len(config.datasets) == len(raw["datasets"]) - 1


def test_a_base_that_is_taken_away(raw):
    message = (
        "config: datasets.coco2017.base: no block 'coco', as datasets.coco is null, so that there is no such block"
    )
    assert error_of(put(raw, "datasets.coco", None)).startswith(message)


def plan_error(raw: dict, dataset: str) -> str:
    plan = Plan(Config(raw))
    return refused(lambda: list(plan.jobs(dataset)))


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
    assert plan_error(raw, "voc").startswith("config: datasets.voc: has no truth to read (masks is null)")


def test_asking_for_what_is_not_there(raw):
    config = Config(raw)
    with pytest.raises(UserError, match="^config: no data set 'demmo', did you mean 'demo'\\? correct it$"):
        config.dataset("demmo")
    with pytest.raises(UserError, match="^config: cams has no block 'cma', did you mean 'cam'\\? correct it$"):
        config.block("demo", "cams", "cma")
    with pytest.raises(UserError, match="^config: systems has no block 'tru', did you mean 'truth'\\? correct it$"):
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
        ("a: !!float _", r"not valid YAML \("),
    ],
)
def test_a_file_that_is_no_configuration(tmp_path, text, message):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=message) as caught:
        Config.load(path)
    assert str(caught.value).startswith(f"{path}: ") and "\n" not in str(caught.value)


def test_a_nul_character_within_a_text(tmp_path):
    (tmp_path / "mine.yaml").write_text('datasets: {mine: {table: "photos\\0.csv"}}')
    with pytest.raises(UserError, match="mine.yaml: datasets.mine.table: a NUL character"):
        Config.load(tmp_path / "mine.yaml")


def test_bytes_that_are_no_text_and_a_missing_file(tmp_path):
    (tmp_path / "mine.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="not valid YAML"):
        Config.load(tmp_path / "mine.yaml")
    with pytest.raises(UserError, match="cannot be read .*; name an existing YAML file"):
        Config.load(tmp_path / "missing.yaml")
