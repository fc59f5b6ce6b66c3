"""The digest of code: what counts and what does not, statement by statement; the whole DAG is in test_staleness."""

import ast
import contextlib
import functools
import graphlib
import inspect
import re
import sys
import types
from pathlib import Path

import pytest
import stage_runs
from own_photographs import CSV, plan_of, write_photographs

import workflow_scripts.base.stopping
from workflow_scripts.config import fingerprint
from workflow_scripts.config.fingerprint import ROOT, UNCOUNTED, closure, code_digest

CACHED = [item for item in vars(fingerprint).values() if hasattr(item, "cache_clear")]
MODULES = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    for path in ROOT.rglob("*.py")
    if path != ROOT / "__init__.py"
)


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Another package in the place of ours: write it by its files, and ask for the digest of some modules."""
    monkeypatch.setattr(fingerprint, "KEPT", tmp_path / "kept" / "kept.json")

    def digest(files: dict[str, str], *modules: str) -> str:
        root = tmp_path / str(len([*tmp_path.iterdir()]))
        for name, text in files.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(text)
            for folder in (root / name).relative_to(root).parents[:-1]:
                (root / folder / "__init__.py").touch()
        monkeypatch.setattr(fingerprint, "ROOT", root)
        for item in CACHED:
            item.cache_clear()
        return code_digest(modules or ["a"])

    yield digest
    for item in CACHED:
        item.cache_clear()


EQUAL = {
    "raise": ("raise ValueError('one')", "raise ValueError('two words')"),
    "raise, parts": ("raise UserError(f'{x}: one {y:.2f} two')", "raise UserError(f'at {x} {y:.2f}')"),
    "raise, alternatives": ("raise UserError(f'{n} image{\"s\" if n else \"\"}')", "raise UserError(f'{n}{\"a\" if n else \"b\"}')"),
    "raise, joined": ("raise UserError(f'{x} a' + ' b')", "raise UserError(f'c {x}' + ' d')"),
    "raise, keyword": ("raise Fault(reason='a')", "raise Fault(reason='b')"),
    "error that is returned": ("e = UserError('a')", "e = UserError('b')"),
    "fault": ("faults.add(f'{x}: a')", "faults.add(f'{x}: b')"),
    "fault of one image": ("own.add('a')", "own.add('b')"),
    "fault of a file": ("self.file.faults.add('a')", "self.file.faults.add('b')"),
    "data check": ("c = {'a': Check('b', 'c')}", "c = {'a': Check('d', 'e')}"),
    "print": ("print(f'{x} a', flush=True)", "print(f'{x} b', flush=True)"),
    "print to people": ("print('a', file=sys.stderr)", "print('b', file=sys.stderr)"),
    "exit": ("sys.exit(f'error: {x}')", "sys.exit(f'fault: {x}')"),
    "warning": ("warnings.warn('a')", "warnings.warn('b')"),
    "assert": ("assert x, 'a'", "assert x, f'b'"),
    "help": ("parser.add_argument('--a', type=int, help='a')", "parser.add_argument('--a', type=int, help='b')"),
    "docstring": ("def f():\n    'a'\n    return 1", "def f():\n    return 1"),
    "comment": ("x = 1  # a", "x = (\n    1\n)"),
    "order of imports": ("import os\nfrom sys import a, b", "from sys import b\nfrom sys import a\nimport os"),
    "uncounted import": ("from workflow_scripts.base.errors import E", "from  workflow_scripts.base.errors import  E"),
}  # fmt: skip

DIFFERENT = {
    "kind of error": ("raise ValueError('a')", "raise KeyError('a')"),
    "what is told": ("raise ValueError(f'{x}')", "raise ValueError(f'{y}')"),
    "what is called for it": ("print(f'{next(x)}')", "print(f'{x}')"),
    "condition in it": ("print('a' if next(x) else 'b')", "print('a' if x else 'b')"),
    "text handed to a function in it": ("raise ValueError(made('a'))", "raise ValueError(made('b'))"),
    "key in it": ("raise ValueError(x['a'])", "raise ValueError(x['b'])"),
    "number in it": ("raise Stop(1)", "raise Stop(2)"),
    "text to a file": ("print('a', file=out)", "print('b', file=out)"),
    "member of a set": ("seen.add('a')", "seen.add('b')"),
    "key of a check": ("c = {'a': Check('b', 'c')}", "c = {'b': Check('b', 'c')}"),
    "name of a check": ("faults.suspect('a', i, 'x')", "faults.suspect('b', i, 'x')"),
    "value": ("x = 'a'", "x = 'b'"),
    "returned text": ("def f():\n    return 'a'", "def f():\n    return 'b'"),
    "option": ("parser.add_argument('--a', help='a')", "parser.add_argument('--b', help='a')"),
    "default": ("parser.add_argument('--a', default='a')", "parser.add_argument('--a', default='b')"),
    "number": ("x = 1", "x = 2"),
    "bool for number": ("x = 1", "x = True"),
    "assertion": ("assert x, 'a'", "assert y, 'a'"),
    "order of statements": ("f()\ng()", "g()\nf()"),
    "imported name": ("from sys import a", "from sys import b"),
    "name that it is given": ("from sys import a", "from sys import a as b"),
    "imported within": ("def f():\n    import os", "def f():\n    import sys"),
}


@pytest.mark.parametrize(("one", "other"), EQUAL.values(), ids=EQUAL)
def test_what_changes_no_byte(package, one, other):
    errors = {"base/errors.py": "class E: pass\n"}
    assert package({"a.py": one, **errors}) == package({"a.py": other, **errors})


@pytest.mark.parametrize(("one", "other"), DIFFERENT.values(), ids=DIFFERENT)
def test_what_may_change_a_byte(package, one, other):
    assert package({"a.py": one}) != package({"a.py": other})


WITH_CLASS = """from typing import Literal

import torch
from pydantic import Field
from workflow_scripts.config.types.parts import Block, Share

LIMIT = 3


def scaled(x):
    return torch.relu(x) * LIMIT


class Options(Block):
    share: Share = Field({default}, description="{words}")


class Example(Block):
    rule: Literal["example"]
    options: Options


def loss(x):
    return scaled(x) + {number}
"""


def with_class(default: float = 0.5, words: str = "of pixels", number: int = 1) -> dict[str, str]:
    text = WITH_CLASS.format(default=default, words=words, number=number)
    return {"a.py": text, "config/types/parts.py": "class Block: pass\nShare = float\n"}


def test_classes_of_blocks_and_what_they_alone_import_do_not_count(package):
    code = "import torch\n\nLIMIT = 3\n\n\ndef scaled(x):\n    return torch.relu(x) * LIMIT\n\n\ndef loss(x):\n    return scaled(x) + 1\n"
    assert package(with_class()) == package(with_class(0.7, "of an image")) == package({"a.py": code})
    assert package(with_class()) != package(with_class(number=2))
    assert closure(["a"]) == ["a"]


def test_a_class_of_blocks_that_the_code_uses_counts(package):
    used = {"a.py": with_class()["a.py"] + "\n\nx = Options()\n"} | {"config/types/parts.py": "Block = Share = float\n"}
    changed = {**used, "a.py": used["a.py"].replace("0.5", "0.7")}
    assert package(used) != package(changed)


USER = "from workflow_scripts.{room} import f\n\n\ndef g():\n    from workflow_scripts.{room} import h\n\n    return f() + h()\n"
USED = "def f():\n    return {number}\n\n\ndef h():\n    return 2\n"


def moved(room: str, number: int = 1) -> dict[str, str]:
    return {"a.py": USER.format(room=room), f"{room.replace('.', '/')}.py": USED.format(number=number)}


def test_a_module_that_is_moved(package):
    assert package(moved("b")) == package(moved("other.room.c")) != package(moved("b", number=3))


def test_a_module_that_is_named_by_the_job_is_known_by_its_own_name(package):
    text = {"rooms/eps.py": "x = 1\n", "eps.py": "x = 1\n", "cam.py": "x = 1\n"}
    assert package(text, "rooms.eps") == package(text, "eps") != package(text, "cam")


def test_modules_that_change_places_do_not_hide_what_they_hold(package):
    user = "from workflow_scripts.b import f\nfrom workflow_scripts.c import f as g\n\nx = f() - g()\n"
    one, other = USED.format(number=1), USED.format(number=3)
    assert package({"a.py": user, "b.py": one, "c.py": other}) != package({"a.py": user, "b.py": other, "c.py": one})
    assert package({"b.py": one, "c.py": other}, "b", "c") != package({"b.py": other, "c.py": one}, "b", "c")


def test_a_changed_module_far_below_counts(package):
    files = {"a.py": "from workflow_scripts import b\n", "b.py": "import workflow_scripts.c.d\n", "c/d.py": "x = 1\n"}
    before = package(files)
    assert package({**files, "c/d.py": "x = 2\n"}) != before
    assert (
        package({**files, "c/__init__.py": "x = 2\n"}) != package({**files, "c/__init__.py": "'''Words.'''"}) == before
    )


class Reworded(ast.NodeTransformer):
    """Other words in the first text of every error, fault and line for the terminal, as an editor of them would write."""

    def __init__(self):
        self.count = 0

    def visit_Call(self, node):
        self.generic_visit(node)
        name = getattr(node.func, "id", getattr(node.func, "attr", ""))
        faults = name == "add" and ast.unparse(node.func).endswith(("faults.add", "own.add"))
        plain = not any(keyword.arg == "file" for keyword in node.keywords)
        if (name in ("UserError", "print") or faults) and node.args and plain:
            parts = node.args[0].values if isinstance(node.args[0], ast.JoinedStr) else [node.args[0]]
            for part in parts:
                if isinstance(part, ast.Constant) and isinstance(part.value, str):
                    part.value += " indeed"
                    self.count += 1
        return node


def test_reworded_messages_of_all_modules(monkeypatch):
    before = {name: code_digest([name]) for name in MODULES}
    words = Reworded()
    sources = {name: ast.unparse(words.visit(ast.parse(fingerprint._source(name)))) for name in MODULES}
    assert words.count > 500
    with monkeypatch.context() as patch:
        for item in CACHED:
            item.cache_clear()
        patch.setattr(fingerprint, "_source", functools.cache(lambda name: sources.get(name, "")))
        assert {name: code_digest([name]) for name in MODULES} == before
    for item in CACHED:
        item.cache_clear()


def test_what_is_called_faults_or_own_is_no_set():
    """Words that are added to `Faults` do not count; what is added to a set would."""
    for path in ROOT.rglob("*.py"):
        assert not re.search(r"\b(faults|own)\b[^=\n]*= *(set\(|\{[^:\n]*\}$)", path.read_text(), re.MULTILINE), path


def test_imports_go_in_no_circle():
    graphlib.TopologicalSorter({name: {*closure([name])} - {name} for name in MODULES}).prepare()


# The modules that do not count

FUNCTIONS = {
    "base.errors": {"one_line", "disk_fault", "not_written"},
    "base.stopping": {"on_signals", "ignore", "check", "postponed", "this_process", "watch_parents", "exists"},
    "base.version": set(),
}


def test_the_list_of_modules_that_do_not_count():
    """They compute nothing of an artifact: no arrays, no files of data, nothing of what counts. A new function is to be thought about."""
    assert set(FUNCTIONS) == UNCOUNTED
    harmless = {"contextlib", "errno", "os", "select", "signal", "threading", "time", "collections.abc"}
    for name, functions in FUNCTIONS.items():
        tree = ast.parse(ROOT.joinpath(*name.split(".")).with_suffix(".py").read_text())
        assert {module for module, *_ in imported(tree)} <= harmless
        defined = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
        assert {function for function in defined if not function.startswith("_")} == functions


def imported(tree: ast.Module):
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield from fingerprint._bindings(node)


TINY = {"name": "tiny", "stride": 8, "frozen_stages": 0, "batch_norm": "trained"}
RECIPE = {"iterations": 2, "batch": 2, "crop": 16, "long_side": [16, 24]}
STAGES = [
    ("index", {}),
    ("truth", {}),
    ("train_classifier", {"seed": "0", "classifier": "cam"}),
    ("cams", {"seed": "0", "cam": "cam"}),
    ("thresholds", {"seed": "0", "cam": "cam"}),
    ("masks", {"seed": "0", "mask": "cam"}),
    ("score_masks", {"seed": "0", "mask": "cam"}),
]


def artifacts(folder: Path, monkeypatch) -> dict[str, bytes]:
    """What a small data set's stages write; sidecars tell times."""
    folder.mkdir()
    monkeypatch.chdir(folder)
    write_photographs()
    overrides = {"classifiers": {"base_cnn": {"initial": "random", "backbone": TINY, "recipe": RECIPE}}}
    plan = plan_of(CSV, overrides=overrides)
    for stage, names in STAGES:
        assert stage_runs.run(plan, stage, **names) is None
    return {str(path): path.read_bytes() for path in stage_runs.results() if path.suffix in {".h5", ".safetensors"}}


def test_without_the_modules_that_do_not_count_the_bytes_are_the_same(tmp_path, monkeypatch):
    """Their functions do nothing and give nothing, wherever they have been imported; an error stays an error."""
    expected = artifacts(tmp_path / "one", monkeypatch)
    assert len(expected) >= 5
    stubs = {}
    for name in UNCOUNTED:
        module = sys.modules[f"workflow_scripts.{name}"]
        own = {key: item for key, item in vars(module).items() if inspect.isfunction(item)}
        stubs |= {
            id(item): stub for key, item in own.items() if (stub := nothing(key)) and item.__module__ == module.__name__
        }
    assert id(workflow_scripts.base.stopping.postponed) in stubs
    for module in [item for key, item in sys.modules.items() if key.startswith("workflow_scripts")]:
        for key, item in list(vars(module).items()) if isinstance(module, types.ModuleType) else ():
            if id(item) in stubs:
                monkeypatch.setattr(module, key, stubs[id(item)])
    assert artifacts(tmp_path / "other", monkeypatch) == expected


def nothing(name: str):
    return contextlib.nullcontext if name == "postponed" else lambda *_, **__: None


# What is kept between plans


IMPORTS = "from workflow_scripts import b\nfrom workflow_scripts.c import d\n"
KEPT_FILES = {"a.py": f"{IMPORTS}x = b.y + d\n", "b.py": "y = 1\n", "c.py": "d = 2\n"}
CHANGES = {
    "the text": {"a.py": f"{IMPORTS}x = b.y - d\n"},
    "what it imports": {"b.py": "y = 3\n"},
    "a module in place of a name": {"c.py": None, "c/__init__.py": "d = 2\n", "c/d.py": ""},
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_digest_that_was_kept_counts_only_where_it_would_be_found_again(package, monkeypatch, change):
    changed = {name: text for name, text in (KEPT_FILES | change).items() if text is not None}
    expected = package(changed)
    first = package(KEPT_FILES)
    fingerprint._keep(fingerprint.KEPT, fingerprint._kept(), {})
    walked = []
    digest = fingerprint._digest
    monkeypatch.setattr(fingerprint, "_digest", lambda *given: walked.append(given[1]) or digest(*given))
    assert package(KEPT_FILES) == first and not walked  # from the file
    assert package(changed) == expected != first and "a" in walked


@pytest.mark.parametrize("text", ["", "[]", "{", '{"by": "0", "known": {}}', '{"known": 1}'])
def test_a_file_of_digests_that_is_none_is_not_taken(package, text):
    expected = package(KEPT_FILES)
    fingerprint.KEPT.parent.mkdir()
    fingerprint.KEPT.write_text(text)
    assert package(KEPT_FILES) == expected
    known = {key: [] for key in fingerprint._kept()}
    fingerprint._keep(fingerprint.KEPT, known, {})
    assert package(KEPT_FILES) == expected
