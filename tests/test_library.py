"""The library: one file a paper, none built on another; and blocks that are there without being written."""

import pytest
from conftest import SOURCES, put, refused

from workflow_scripts.config.chain import MADE_OF, Chain, is_base
from workflow_scripts.config.families import references, sections
from workflow_scripts.config.layers import merge, read_settings, section
from workflow_scripts.config.resolve import Config
from workflow_scripts.config.yaml_files import place, read_yaml

FILES = sorted(path.stem for path in (SOURCES / "library").glob("*.yaml") if path.stem != "shared")


@pytest.fixture(scope="module")
def library() -> dict:
    return read_settings()


def owner(library: dict, kind: str, name: str) -> str:
    """The file that a block is of: where it is written or, where it is not, where what it is made of is."""
    written = place(library.get(kind, {}), name)
    return written.rpartition(":")[0].rpartition("/")[2] if written else owner(library, above(kind), name)


def above(kind: str) -> str:
    return next(iter(MADE_OF[kind].values()))


def resolved(settings: dict, names: dict[str, list[str]]) -> dict[tuple[str, str], dict]:
    chain = Chain({kind: section(settings, kind) for kind in sections()}, {kind: () for kind in sections()})
    return {(kind, name): chain.plain(kind, name) for kind in names for name in names[kind]}


@pytest.mark.parametrize("file", FILES)
def test_an_override_of_a_paper_changes_that_paper_alone(library, file):
    """Of every block that its file holds, and of those that it implies."""
    config = Config(library)
    names = {kind: config.names("voc", kind) for kind in sections()}
    own = {
        key
        for key in ((kind, name) for kind in names for name in names[kind])
        if owner(library, *key) == f"{file}.yaml"
    }
    change: dict = {}
    for kind, name in own:
        change.setdefault(kind, {})[name] = {"changed": True}
    before, after = resolved(library, names), resolved(merge(library, change), names)
    assert {key for key in before if before[key] != after[key]} == own != set()


def test_what_papers_share_is_no_block(library):
    shared = read_yaml(SOURCES / "library/shared.yaml")
    assert all(is_base(name) for blocks in shared.values() for name in blocks)
    config = Config(library)
    for kind in sections():
        assert not any(map(is_base, config.names("voc", kind)))
    mine = {"masks": {"mine": {"rule": "constant", "cam": "base", "threshold": 0.1}}}
    message = refused(lambda: Config(merge(library, mine)))
    assert "masks.mine.cam: cams has no block 'base'" in message


def test_no_two_files_of_the_library_have_one_block(tmp_path):
    (tmp_path / "mine.yaml").write_text("masks:\n  other: {rule: boxes}\n  eps: {rule: boxes}\n")
    message = refused(lambda: read_settings([], {"plugins": [str(tmp_path)]}))
    assert message.startswith(f"{tmp_path}/mine.yaml:3: masks.eps is a block of ") and "library/eps.yaml:" in message


# --- blocks that are not written


def test_a_block_is_made_of_that_of_its_name(raw):
    put(raw, "cams.mine", {"scales": [1]})
    put(raw, "classifiers.mine", {"base": "eps", "options": {"selection": "none"}})
    config = Config(raw)
    assert config.block("voc", "cams", "mine").classifier == "mine"
    assert config.block("voc", "cams", "mine").scales == (1,)
    assert config.block("voc", "cams", "mine").merge == "mean"  # of the base of its section
    mask = config.block("voc", "masks", "mine")
    assert (mask.cam, mask.threshold) == ("mine", config.block("voc", "masks", "eps").threshold)
    assert config.block("voc", "systems", "mine").model_dump(exclude_unset=True) == {"mask": "mine"}
    assert config.block("voc", "instances", "mine").mask == "mine"
    assert config.block("voc", "instance_systems", "mine").instances == "mine"


def test_what_is_implied_follows_the_base_of_what_it_is_made_of(raw):
    """Through as many bases as it takes, and past those that the section has no block of."""
    put(raw, "classifiers.one", {"base": "seenet_zeroed"})
    put(raw, "classifiers.two", {"base": "one"})
    config = Config(raw)
    assert config.block("voc", "cams", "two").merge == "max"
    assert config.block("voc", "masks", "two").rule == "proxy"
    assert config.block("voc", "masks", "bana_vgg16").classifier == "bana_vgg16"


def test_overrides_of_a_block_that_is_not_written(raw):
    put(raw, "datasets.voc.overrides.masks", {"eps_naive": {"threshold": 0.4}})
    put(raw, "datasets.voc.overrides.cams", {"eps_naive": {"flip": False}})
    config = Config(raw)
    assert config.block("voc", "masks", "eps_naive").threshold == 0.4
    assert config.block("voc", "masks", "eps_naive").cam == "eps_naive"
    assert not config.block("voc", "cams", "eps_naive").flip and config.block("voc", "cams", "eps").flip
    assert config.block("demo", "masks", "eps_naive").threshold == config.block("demo", "masks", "eps").threshold


def test_a_base_gives_what_a_block_is_made_of(raw):
    put(raw, "masks.mine", {"base": "eps", "threshold": 0.3})
    put(raw, "classifiers.mine", {"base": "eps"})
    assert Config(raw).block("voc", "masks", "mine").cam == "eps"


@pytest.mark.parametrize(
    ("block", "message"),
    {
        "masks.eps_nave": "did you mean 'eps_naive'?",
        "systems.bana_gapp": "did you mean 'bana_gap'?",
        "cams.base": "it is what blocks share",
    }.items(),
)
def test_a_block_that_is_neither_written_nor_implied(raw, block, message):
    kind, name = block.split(".")
    config = Config(raw)
    told = refused(lambda: config.block("voc", kind, name))
    assert f"{kind} has no block {name!r}" in told and message in told


def test_null_takes_a_block_away_that_is_not_written(raw):
    put(raw, "masks.eps_naive", None)
    put(raw, "tables", None)
    put(raw, "systems.eps_naive", None)
    config = Config(raw)
    assert "as masks.eps_naive is null" in refused(lambda: config.block("voc", "masks", "eps_naive"))


def test_without_a_base(raw):
    put(raw, "cams.mine", {"base": None, "classifier": "eps"})
    assert "cams.mine.scales: missing" in refused(lambda: Config(raw))


def test_every_chain_is_of_fields_that_name_blocks():
    for kind, fields in MADE_OF.items():
        known = references(sections()[kind])
        assert fields.items() <= known.items()


def test_overrides_are_meant_for_what_a_data_set_runs(raw):
    """The demo's stem has no cells of 14 pixels: told where it is asked for, and no fault of other data sets."""
    put(raw, "classifiers.mine", {"base": "mctformer_v2", "backbone": {"patch": 14, "grid": 16}})
    config = Config(raw)
    assert config.block("voc", "classifiers", "mine").backbone.patch == 14
    assert (config.block("voc", "cams", "mine").attention, config.block("voc", "masks", "mine").threshold) == (
        config.block("voc", "cams", "mctformer").attention,
        0.39,
    )
    for kind in ("classifiers", "cams", "systems"):
        message = refused(lambda kind=kind: config.block("demo", kind, "mine"))
        assert "classifiers.mine.backbone: patch: stem 'tiny' has cells of 8 or 16 pixels, not 14" in message
    assert "mine" not in config.names("demo", "classifiers")
    put(raw, "datasets.demo.overrides.classifiers.mine", {"initial": "random"})
    assert "has cells of 8 or 16 pixels" in refused(lambda: Config(raw))  # the data set names it
    put(raw, "datasets.demo.overrides.classifiers.mine", None)
    put(raw, "datasets.demo.systems", ["mine"])
    assert "has cells of 8 or 16 pixels" in refused(lambda: Config(raw))  # it runs it


def test_errors_name_the_file_and_line_of_what_is_wrong(tmp_path):
    """Of a key in an overlay, of one in overrides, and of none for values of the command line."""
    mine = tmp_path / "mine.yaml"
    for text, line, told in (
        ("masks:\n  eps:\n    treshold: 0.3\n", 3, "masks.eps: unknown key 'treshold'"),
        ("cams: {}\nmasks:\n  eps: {threshold: 3}\n", 3, "masks.eps.threshold: input should be less than"),
        ("datasets:\n  demo:\n    overrides:\n      masks: {eps: {threshold: x}}\n", 4, "masks.eps.threshold: "),
        ("masks:\n  eps: {cam: epz}\n", 2, "masks.eps.cam: cams has no block 'epz'"),
        ("datasets:\n  demo:\n    gpu: 1\n", 3, "datasets.demo: unknown key 'gpu'"),
        ("\nmask: {}\n", 2, "unknown key 'mask'"),
    ):
        mine.write_text(text)
        assert refused(lambda: Config.load(mine)).startswith(f"{mine}:{line}: {told}"), text
    values = {"masks": {"eps": {"threshold": 3}}}
    assert refused(lambda: Config(read_settings([], values))).startswith("config: masks.eps.threshold: ")
