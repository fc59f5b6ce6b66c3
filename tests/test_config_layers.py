"""Overlays, bases and null: what is read of several files, and that Snakemake and the commands read the same."""

import copy
import importlib
import inspect
import pkgutil
import re
import typing
from functools import reduce
from types import SimpleNamespace

import pytest
import yaml
from conftest import SMALL, SOURCES, dry_run, put, refused
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

import workflow_scripts.config
from workflow_scripts.config.chain import Chain
from workflow_scripts.config.layers import merge, of_workflow, without_nulls
from workflow_scripts.config.planning.plan import Plan
from workflow_scripts.config.resolve import Config
from workflow_scripts.config.yaml_files import read_yaml

KEYS = st.sampled_from("abc")
VALUES = st.recursive(
    st.none() | st.integers(0, 9) | st.lists(st.none() | st.integers(0, 9), max_size=2),
    lambda inside: st.dictionaries(KEYS, inside, max_size=3),
    max_leaves=8,
)


def blocks_of(layers: list[dict]) -> list[dict]:
    return [value for layer in layers for value in layer.values() if isinstance(value, dict)]


LAYERS = st.lists(st.dictionaries(KEYS, VALUES, max_size=3), min_size=1, max_size=4)


def expected(layers: list[dict]) -> dict:
    """What is left of a key is its last value, and of mappings that follow each other, all of them; null is nothing."""
    result = {}
    for key in {key for layer in layers for key in layer}:
        values = [layer[key] for layer in layers if key in layer]
        if isinstance(values[-1], dict):
            plain = [place for place, value in enumerate(values) if not isinstance(value, dict)]
            result[key] = expected(values[max(plain, default=-1) + 1 :])
        elif values[-1] is not None:
            result[key] = values[-1]
    return result


@given(layers=LAYERS)
def test_layers_over_each_other(layers):
    assert without_nulls(reduce(merge, layers)) == expected(layers)


@given(layers=LAYERS)
def test_blocks_over_their_bases(layers):
    blocks = {
        f"b{place}": {**layer, **({"base": f"b{place - 1}"} if place else {})} for place, layer in enumerate(layers)
    }
    chain = Chain({"segmenters": blocks}, {"segmenters": ()})
    for place in range(len(layers)):
        assert chain.plain("segmenters", f"b{place}") == expected(layers[: place + 1])


@given(layers=LAYERS.filter(lambda layers: not any(None in value.values() for value in blocks_of(layers))))
def test_files_and_values_of_snakemake(layers, tmp_path_factory):
    """The first layer is the shipped file, the last the command line's values; or all are in files, as the commands are given them."""
    folder = tmp_path_factory.mktemp("layers")
    paths = [folder / f"{place}.yaml" for place in range(len(layers))]
    for path, layer in zip(paths, layers, strict=True):
        path.write_text(yaml.safe_dump(layer))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("workflow_scripts.config.layers.LIBRARY", folder / "library")
        patch.setattr("workflow_scripts.config.layers.SHIPPED", paths[0])
        assert of_workflow(run_with(paths[1:]), {}) == reduce(merge, layers)
        assert of_workflow(run_with(paths[1:-1], layers[-1] if layers[1:] else {}), {}) == reduce(merge, layers)
        assert of_workflow(run_with(paths[1:], replaced=True), {}) == reduce(merge, layers[1:], {})
        assert of_workflow(run_with([], module=True), layers[-1]) == merge(layers[0], layers[-1])


def run_with(files: list, values: dict | None = None, replaced: bool = False, module: bool = False) -> SimpleNamespace:
    settings = SimpleNamespace(config=values or {}, replace_workflow_config=replaced)
    return SimpleNamespace(
        modifier=SimpleNamespace(skip_configfile=module), overwrite_configfiles=files, config_settings=settings
    )


def test_null_is_no_value_of_its_own():
    """A key that takes null stands for the same without it, so that nulls can go before blocks are typed."""
    for item in pkgutil.iter_modules(workflow_scripts.config.__path__):
        module = importlib.import_module(f"workflow_scripts.config.{item.name}")
        for _, kind in inspect.getmembers(
            module, lambda found: inspect.isclass(found) and issubclass(found, BaseModel)
        ):
            for name, field in kind.model_fields.items():
                if type(None) in typing.get_args(field.annotation):
                    assert field.default is None and not field.is_required(), f"{kind.__name__}.{name}"


# Null in every place of a real configuration


def test_null_takes_keys_of_blocks_away(raw):
    put(raw, "segmenters.large_fov.hidden", None)
    put(raw, "systems.eps.segmenter", None)
    put(raw, "systems.eps.predictions", None)
    put(raw, "datasets.demo.overrides.masks.eps_crf.crf", None)
    put(raw, "datasets.demo.use.thresholds", None)
    config = Config(raw)
    assert config.block("voc", "segmenters", "large_fov").hidden is None
    assert config.block("voc", "systems", "eps").segmenter is None
    assert config.block("voc", "systems", "eps").predictions == ()
    assert config.block("demo", "masks", "eps_crf").crf is None
    assert config.block("voc", "masks", "eps_crf").crf is not None
    assert config.dataset("demo").use.thresholds is None


def test_null_in_a_second_file_reaches_the_base(raw):
    """The key does not come back from the base of the block."""
    first = {"systems": {"mine": {"base": "eps", "segmenter": "large_fov"}}}
    second = {"systems": {"mine": {"segmenter": None, "predictions": None}}}
    config = Config(reduce(merge, [raw, first, second]))
    assert config.block("voc", "systems", "eps").segmenter
    assert config.block("voc", "systems", "mine").segmenter is None
    third = {"systems": {"mine": {"segmenter": "bana", "predictions": ["single"]}}}
    assert Config(reduce(merge, [raw, first, second, third])).block("voc", "systems", "mine").segmenter == "bana"


def test_null_takes_blocks_sections_splits_and_overrides_away(raw):
    put(raw, "tunings", None)
    put(raw, "tables", None)
    put(raw, "datasets.voc_aug", None) if "voc_aug" in raw["datasets"] else None
    put(raw, "datasets.demo.overrides.predictions", None)
    put(raw, "datasets.demo.overrides.masks.eps_crf", None)
    put(raw, "datasets.mine", {"base": "demo", "gallery": None})
    config = Config(raw)
    assert config.names("demo", "tunings") == config.names("demo", "tables") == []
    assert config.block("demo", "masks", "eps_crf") == config.block("voc", "masks", "eps_crf")
    assert config.block("demo", "predictions", "multi") == config.block("voc", "predictions", "multi")
    assert config.dataset("mine").gallery is None


@pytest.mark.parametrize(
    ("gone", "place"),
    {
        "systems.eps": "datasets.demo.systems",
        "masks.eps": "systems.eps.mask",
        "cams.eps": "masks.eps.cam",
        "saliency.rendered": "saliency",
        "segmenters.large_fov": "segmenter",
    }.items(),
)
def test_a_block_that_is_null_and_still_named(raw, gone, place):
    """Blocks that have it as base are told first where there are any."""
    kind, name = gone.split(".")
    for block in raw[kind].values():
        if block.get("base") == name:
            block["base"] = None
    raw[kind] = {key: block for key, block in raw[kind].items() if key == name or block.get("base", 0) is not None}
    put(raw, gone, None)
    message = refused(lambda: Config(raw))
    assert place.split(".")[-1] in message and (f"as {gone} is null" in message or "no block" in message)


def test_what_snakemake_plans_is_what_the_commands_plan(tmp_path):
    """With nulls for a key, a list, a block and a section in the second of two overlays."""
    first, second = tmp_path / "first.yaml", tmp_path / "second.yaml"
    first.write_text(
        yaml.safe_dump(
            {
                "systems": {"mine": {"base": "eps"}, "lost": {"base": "eps"}},
                "datasets": {"demo": {"systems": ["mine"], "overrides": {"masks": {"eps": {"threshold": 0.3}}}}},
            }
        )
    )
    second.write_text(
        yaml.safe_dump(
            {
                "systems": {"mine": {"segmenter": None, "predictions": None}, "lost": None},
                "datasets": {"demo": {"limit": None, "overrides": {"masks": {"eps": None}}}},
                "tunings": None,
            }
        )
    )
    files = [*(SOURCES / name for name in SMALL), first, second]
    jobs = [stage for stage, _ in Plan(Config.load(*files)).jobs("demo", "results/demo/miou.csv")]
    planned = dry_run(SOURCES, "results/demo/miou.csv", configfiles=["config.yaml", *files[1:]], options=["--forceall"])
    assert "train_segmenter" not in jobs
    pictures = {"montage", "curves", "charts", "filling_rates"}
    assert sorted(rule for rule, _ in planned) == sorted(stage for stage in jobs if stage not in pictures)


# What is wrong is told by the file and line that has to be changed

OVERLAYS = {
    "null for an unknown key": ("masks:\n  eps:\n    treshold: null\n", "3: masks.eps: unknown key 'treshold', did"),
    "null for an unknown key of a part": (
        "classifiers:\n  eps: {options: {selektion: null}}\n",
        "2: classifiers.eps.options: unknown key 'selektion', did you mean 'selection'?",
    ),
    "null for an unknown key of an override": (
        "datasets:\n  demo:\n    overrides: {masks: {eps: {treshold: null}}}\n",
        "3: masks.eps: unknown key 'treshold', did you mean 'threshold'?",
    ),
    "null for an override of no block": (
        "datasets:\n  demo: {overrides: {masks: {epz: null}}}\n",
        "2: datasets.demo.overrides.masks: no block 'epz', did you mean 'eps'?",
    ),
    "null for an override of no section": (
        "datasets:\n  demo: {overrides: {mask: null}}\n",
        "2: datasets.demo.overrides: unknown key 'mask', did you mean 'masks'?",
    ),
    "null for no block": (
        "masks:\n  epz: null\n",
        "2: masks.epz is null, and there is no such block; did you mean 'eps'?",
    ),
    "null for no classifier": (
        "classifiers:\n  eps_crf: null\n",
        "2: classifiers.eps_crf is null, and there is no such",
    ),
    "null for what others need": (
        "masks:\n  mine: {base: cam}\ncams:\n  eps:\n    scales: null\n  base: {scales: null}\n",
        "6: cams.cam_vgg16.scales: missing, as cams.base.scales is null; give it a value",
    ),
    "null for a part of what is shared": (
        "classifiers:\n  base_cnn:\n    recipe: null\n",
        "3: classifiers.cam_vgg16.recipe.accumulate: missing, as classifiers.base_cnn.recipe is null; give it",
    ),
    "what others are built on": (
        "instances:\n  bana:\n    mask: banana\n",
        "3: instances.bana.mask: masks has no block",
    ),
    "another method on ours": (
        "classifiers:\n  x: {base: base_cam, method: eps}\n",
        "2: classifiers.x.options: unknown key 'dropout'",
    ),
    "base in an override": (
        "datasets:\n  demo:\n    overrides: {cams: {eps: {base: cam_irn}}}\n",
        "3: cams.eps.base: no block 'cam_irn'",
    ),
    "a section that is null": (
        "shards: 1\nmasks:\nsystems: {}\n",
        "2: masks is null, which takes all its blocks away; take the null away, or set single blocks to null; without them: ",
    ),
    "a new block that is misspelt": (
        "masks:\n  eps_crff: {threshold: 0.3}\n",
        "2: masks.eps_crff: no such block (did you mean eps_crf?); a new one needs `rule` or `base`",
    ),
    "a new block of no known name": (
        "saliency:\n  wholly_different: {model: u2net}\n",
        "2: saliency.wholly_different: no such block; a new one needs `detector` or `base`",
    ),
    "a data set that is misspelt": (
        "datasets:\n  demoo: {seeds: [1]}\n",
        "2: datasets.demoo: no such block (did you mean demo?); a new one needs `kind` or `base`",
    ),
    "a key that another kind does not know": (
        "datasets:\n  mine: {base: demo, kind: csv, threshold: 0.5}\n",
        "2: datasets.mine: kind csv has no seed, which datasets.demo (library/datasets/demo.yaml:8) gives; set to null what it does "
        "not have, or take another base",
    ),
    "plug-ins": ("shards: 1\nplugins: [nowhere]\n", "2: plugins: nowhere: no such folder, seen from "),
    "system of a table": (
        "tables:\n  eps_table_3:\n    systems: {demo: {naive: [naif]}}\n",
        "3: tables.eps_table_3.systems.demo.naive: no system 'naif', did",
    ),
}


@pytest.mark.parametrize(("text", "told"), OVERLAYS.values(), ids=OVERLAYS)
def test_the_line_of_an_overlay(tmp_path, text, told):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    assert refused(lambda: Config.load(path)).startswith(f"{path}:{told}")


def test_the_way_out_of_another_kind(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("datasets:\n  mine: {base: voc, kind: csv}\n")
    told = re.search("kind csv has no (.+), which datasets.voc ", refused(lambda: Config.load(path)))
    assert {"annotations", "sbd"} < {*told[1].split(", ")}
    nulls = ": null, ".join(told[1].split(", "))
    path.write_text(f"datasets:\n  mine: {{base: voc, kind: csv, {nulls}: null}}\n")
    assert "datasets.mine.table: missing" in refused(lambda: Config.load(path))


def test_where_a_block_was_taken_away(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("systems:\n  eps: null\n")
    message = refused(lambda: Config.load(path))
    assert "config.yaml:" in message and f"as systems.eps is null ({path}:2), so" in message


def test_nulls_that_take_something_away(tmp_path):
    """A key of another class, an implied block, shards; the same again in a second file."""
    path = tmp_path / "mine.yaml"
    path.write_text(
        "masks:\n  mine: {base: eps, rule: truth, cam: null, threshold: null}\ncams: {eps_momentum: null}\nshards: null\n"
    )
    config = Config.load(path, path)
    assert config.block("demo", "masks", "mine").rule == "truth" and config.shards == 1
    assert not config.chain("demo").has("cams", "eps_momentum")


# Files as people write them

TWICE = {
    "section": ("datasets: {a: 1}\nsystems: {}\ndatasets: {b: 1}\n", ("line 3: datasets is", "in line 1,")),
    "block": ("datasets:\n  a: {x: 1}\n  b: {}\n  a: {y: 2}\n", ("line 4: datasets.a is", "in line 2,")),
    "key on one line": ("masks: {eps: {threshold: 0.1, threshold: 0.2}}", ("line 1: masks.eps.threshold is",)),
    "in quotes": ("a: 1\n'a': 2\n", ("line 2: a is",)),
    "in a list": ("a:\n- {b: 1}\n- {c: 1, c: 2}\n", ("line 3: a.1.c is",)),
    "under an anchor": ("a: &a {b: 1, b: 2}\nc: *a\n", ("line 1: a.b is",)),
    "json": ('{\n\t"a": {"b": 1,\t"b": 2}}', ("'b' is",)),
}


@pytest.mark.parametrize(("text", "told"), TWICE.values(), ids=TWICE)
def test_what_is_written_twice(tmp_path, text, told):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    message = refused(lambda: read_yaml(path))
    for part in (str(path), "written twice", "merge the two", *told):
        assert part in message


def test_what_is_not_written_twice(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("a: &a {b: 1}\nc: {<<: *a, b: 2}\nd: [{b: 1}, {b: 1}]\n1: x\n'1': y\n")
    assert read_yaml(path) == {"a": {"b": 1}, "c": {"b": 2}, "d": [{"b": 1}, {"b": 1}], 1: "x", "1": "y"}
    path.write_text('{\n\t"a": {"b": [1, null]}}')
    assert read_yaml(path) == {"a": {"b": [1, None]}}


@pytest.mark.parametrize("text", ["a: [1\nb: 2\n", "a: 1\n\tb: 2\n", "a: 'b\n", "a: *b\n"])
def test_a_file_that_is_no_yaml_is_told_with_its_line(tmp_path, text):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    message = refused(lambda: read_yaml(path))
    assert f"{path}: not valid YAML (line " in message and "\n" not in message


UNQUOTED = ["yes", "no", "on", "off", "true", "null", "~", "1.0", "017", "0x1F", "2020-01-01", "12:30", "1e3", ".inf"]


@pytest.mark.parametrize("text", UNQUOTED)
def test_a_class_that_yaml_takes_for_no_text(raw, text):
    written = yaml.safe_load(f"[cat, {text}]")
    if isinstance(written[1], str):  # 1e3 is a text to YAML 1.1
        assert Config(put(raw, "datasets.demo.classes", written))
        return
    message = refused(lambda: Config(put(raw, "datasets.demo.classes", written)))
    assert message.startswith("config: datasets.demo.classes.1: ") and "in quotes" in message


@pytest.mark.parametrize("place", ["systems", "datasets.demo.splits", "datasets", "masks.eps"])
def test_a_key_that_yaml_takes_for_no_text(raw, place):
    target = reduce(lambda inside, key: inside[key], place.split("."), raw)
    target[yaml.safe_load("no")] = {"x": 1}
    message = refused(lambda: Config(raw))
    assert message.startswith(f"config: {place}: ") and "False" in message and "in quotes" in message


def test_a_configuration_of_too_many_values(raw):
    """A module's, which no file is read for."""
    bomb: list = ["x"]
    for _ in range(12):
        bomb = [bomb] * 9
    message = refused(lambda: Config(put(raw, "datasets.demo.classes", bomb)))
    assert "more than 1,000,000 values" in message


# What is wrong in a recipe is told by its own place, in every kind of block


def recipes(value, path=()):
    if isinstance(value, dict):
        for key, item in value.items():
            yield from recipes(item, (*path, key))
    elif isinstance(value, int | float) and not isinstance(value, bool) and "recipe" in path:
        yield path


@pytest.fixture(scope="module")
def whole():
    return Config.load()


@pytest.mark.parametrize("kind", ["saliency", "classifiers", "affinities", "segmenters", "instance_networks"])
def test_a_word_for_a_number_of_a_recipe(whole, kind):
    """Of all blocks of a kind, one of each make: unions have tags that have names of keys."""
    from workflow_scripts.config.families import sections
    from workflow_scripts.config.typed import typed

    found: dict[type, int] = {}
    for name in whole.names("voc", kind):
        plain = whole.plain("voc", kind, name)
        make = type(whole.block("voc", kind, name))
        paths = [path for path in recipes(plain)]
        if not paths or make in found:
            continue
        found[make] = len(paths)
        for path in paths:
            wrong = copy.deepcopy(plain)
            inside = reduce(lambda part, key: part[key], path[:-1], wrong)
            inside[path[-1]] = "many"
            message = refused(lambda wrong=wrong, name=name: typed(sections()[kind], wrong, f"{kind}.{name}"))
            assert message.startswith(f"config: {kind}.{name}.{'.'.join(path)}: ") and "'many'" in message
            del inside[path[-1]]
            inside["bath"] = 3
            message = refused(lambda wrong=wrong, name=name: typed(sections()[kind], wrong, f"{kind}.{name}"))
            assert message.startswith(f"config: {kind}.{name}.{'.'.join(path[:-1])}: unknown key 'bath'")
    assert found


def test_a_rule_of_a_whole_block_is_told_of_the_block(raw):
    """Not of a key that is called as the block's make is."""
    put(raw, "saliency.rendered.data", {"images": "a", "masks": "b"})
    assert refused(lambda: Config(raw)).startswith("config: saliency.rendered: photographs of a folder differ in size")
