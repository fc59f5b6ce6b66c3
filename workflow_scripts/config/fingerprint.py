"""What decides an artifact: the resolved settings of its block and the code that the job uses.

Rules hand both to Snakemake as params, sidecars record them, `verify` compares them, and the trainer resumes only
under the same fingerprint. The digest of the code is that of the syntax trees of the stage's module, of everything it
imports from this package, transitively, and of the modules that the block names. What changes no byte of an artifact
does not count: docstrings, comments, layout, the words of messages, the modules `UNCOUNTED`, the classes of blocks, whose
values count as settings, in which folder a module lies and in which order it imports others. It holds within one minor
version of Python, whose syntax trees it walks.
"""

import ast
import atexit
import contextlib
import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from functools import cache
from importlib.util import cache_from_source
from pathlib import Path
from typing import Any

from workflow_scripts.base.plugins import folders
from workflow_scripts.config import declared
from workflow_scripts.config.declared import without_declarations

PACKAGE = "workflow_scripts"
ROOT = Path(__file__).resolve().parent.parent
# Modules that only decide how a job fails, never what one that ends well writes: `errors` makes the lines that it ends
# with, `stopping` ends it before its time; `version` stands in sidecars. A test runs stages with neither, and compares the bytes.
UNCOUNTED = {"base.errors", "base.stopping", "base.version"}
# Packages whose modules may come from outside.
OPEN = (
    "methods",
    "refine",
    "detectors",
    "networks",
    "segmentation",
    "instance_segmentation",
    "data.kinds",
    "data.samples",
)
UNWRITTEN = {"ctx", "kind", "type_comment"}  # fields of syntax trees
# Functions whose arguments are words for people. `faults` and `own` are `Faults`, whatever they are an attribute of;
# `Check` holds what the log says of a data check, which no artifact has.
TELLING = {"UserError", "print", "sys.exit", "warnings.warn", "faults.add", "own.add", "Check"}
KEPT = Path(cache_from_source(__file__)).with_suffix(".json")  # digests that were worked out, beside Python's own cache
MOST_KEPT = 2000
# The code that works them out, as it is when this process begins: it may be edited while it runs.
BY = hashlib.sha256(b"".join(Path(str(file)).read_bytes() for file in (__file__, declared.__file__))).hexdigest()


def canonical(settings: dict) -> str:
    """One JSON text for equal settings, whatever the order of their keys."""
    return json.dumps(settings, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def code_digest(modules: Iterable[str]) -> str:
    """Digest of the named modules (dotted, below this package), in this order, and of all they import from it."""
    total = hashlib.sha256()
    for name in dict.fromkeys(modules):
        total.update(f"{name.rpartition('.')[2]}:{_module_digest(name)}\n".encode())
    return total.hexdigest()[:32]


def closure(modules: Iterable[str]) -> list[str]:
    """The modules and everything they import from this package, sorted."""
    found: set[str] = set()
    queue = list(modules)
    while queue:
        name = queue.pop()
        if name not in found:
            found.add(name)
            queue.extend(_imports(name))
            if "." in name:  # importing a module runs the package that holds it
                queue.append(name.rpartition(".")[0])
    return sorted(found)


def forget() -> None:
    """Read all modules anew, as where they are looked for has changed."""
    for cached in (_source, _is_ours, _runs, _read):
        cached.cache_clear()


def _path(name: str) -> Path:
    """The file of a module: of our own or, of a family's, in a folder from outside."""
    base = ROOT.joinpath(*name.split(".")) if name else ROOT
    family, _, stem = name.rpartition(".")
    outside = [Path(folder, f"{stem}.py") for folder in folders()] if family in OPEN else []
    files = [*([base.with_suffix(".py")] if name else []), *outside]
    return next((path for path in files if path.exists()), base / "__init__.py")


@cache
def _source(name: str) -> str:
    return _path(name).read_text(encoding="utf-8")


def _imports(name: str) -> list[str]:
    return _read(name).imports


def _module_digest(name: str) -> str:
    return _read(name).digest


@cache
def _is_ours(module: str) -> bool:
    return module.startswith(f"{PACKAGE}.") and _path(module.removeprefix(f"{PACKAGE}.")).exists()


@cache
def _runs(package: str) -> bool:
    """Whether importing a package runs anything."""
    tree = ast.parse(_source(package))
    return bool(_without_docstring(tree, tree.body))


def imported(node: ast.Import | ast.ImportFrom) -> list[str]:
    """The modules of an import."""
    return [module for module, *_ in _bindings(node)]


def _bindings(
    node: ast.Import | ast.ImportFrom, is_ours: Callable[[str], bool] = _is_ours
) -> Iterator[tuple[str, str, str]]:
    """What an import makes known: module, name in it or nothing for the module itself, and the name that it is given."""
    for alias in node.names:
        if isinstance(node, ast.Import):
            yield alias.name, "", alias.asname or alias.name
        # Relative imports are not used in this package; the linter refuses them.
        elif is_ours(inner := f"{node.module}.{alias.name}"):
            yield inner, "", alias.asname or alias.name
        else:
            yield node.module or "", alias.name, alias.asname or alias.name


@dataclass
class _Written:
    """What was found of one text of a module, and all that it was found from.

    Attributes:
        package: the digest of what the package that holds the module runs; empty where that is nothing.
        ours: of names that are imported from this package, whether they are modules.
        digests: of the modules that it imports.
        imports: these modules, and those that do not count.
        digest: of its tree.
    """

    package: str = ""
    ours: dict[str, bool] = field(default_factory=dict)
    digests: dict[str, str] = field(default_factory=dict)
    imports: list[str] = field(default_factory=list)
    digest: str = ""

    def is_ours(self, module: str) -> bool:
        if module.startswith(f"{PACKAGE}."):
            self.ours[module] = _is_ours(module)
        return self.ours.get(module, False)

    def holds(self, package: str) -> bool:
        """Whether it would be found again."""
        return (
            self.package == package
            and all(_is_ours(module) == ours for module, ours in self.ours.items())
            and all(_module_digest(module) == digest for module, digest in self.digests.items())
        )


@cache
def _read(name: str) -> _Written:
    """What a module imports of this package, and the digest of its tree: both at once, as that takes the time of a plan.

    So it is kept between plans, by the text of the module. It counts only where all else that it was found from is as it was.
    """
    source, (package, _, _) = _source(name), name.rpartition(".")
    around = _module_digest(package) if package and _runs(package) else ""  # importing a module runs the package
    key = hashlib.sha256(json.dumps([name, source]).encode()).hexdigest()
    with contextlib.suppress(KeyError, TypeError, AttributeError):  # not known, or no such file as is written here
        if (known := _Written(**_kept()[key])).holds(around):
            return known
    found = _Written(around)
    found.digest = _digest(ast.parse(source), name, found)
    _kept().pop(key, None)
    _kept()[key] = asdict(found)
    return found


def _digest(tree: ast.Module, name: str, found: _Written) -> str:
    """Of a module's tree; what it is found from is noted.

    Imported modules of this package stand in the tree by their digests, whatever they are called. There are no circles of
    imports, as a test says.
    """
    tree = without_declarations(tree)
    written = [found.package] if "." in name else []
    imports = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    written += sorted({line for node in imports for line in _imported(node, found)})
    tree.body = [node for node in tree.body if node not in imports]
    _walk(tree, written, found)
    return hashlib.sha256("".join(written).encode()).hexdigest()


@cache
def _kept() -> dict[str, Any]:
    """What was found of texts of modules, by their digests; read from a file, and written to it when this process ends."""
    try:
        held = json.loads(KEPT.read_text(encoding="utf-8"))
        known = dict(held["known"]) if held["by"] == BY else {}
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        known = {}
    atexit.register(_keep, KEPT, known, dict(known))
    return known


def _keep(path: Path, known: dict[str, Any], before: dict[str, Any]) -> None:
    """Write what is known, if it is not what was read; where that cannot be, it is worked out again."""
    if known == before:
        return
    temporary = path.with_name(f"{path.name}.{os.getpid()}")
    with contextlib.suppress(OSError):
        path.parent.mkdir(exist_ok=True)
        temporary.write_text(json.dumps({"by": BY, "known": dict([*known.items()][-MOST_KEPT:])}), encoding="utf-8")
        temporary.replace(path)


def _imported(node: ast.Import | ast.ImportFrom, found: _Written) -> Iterator[str]:
    """A line for each name of an import; modules of this package are added to those found."""
    for module, *names in _bindings(node, found.is_ours):
        inner = module.removeprefix(f"{PACKAGE}.")
        if found.is_ours(module):
            found.imports.append(inner)
            if inner not in UNCOUNTED:
                found.digests[inner] = _module_digest(inner)
            module = found.digests.get(inner, "")
        yield " ".join(["import", module, *names]) + "\n"


def _without_words(node: ast.AST) -> None:
    """Blank the words of a message; what is computed for them stays."""
    if isinstance(node, ast.Assert):
        node.msg = node.msg and _blank(node.msg)
    elif isinstance(node, ast.Raise):
        if isinstance(node.exc, ast.Call):
            _blank_arguments(node.exc)
    elif isinstance(node, ast.Call):
        called = _dotted(node.func)
        to_file = any(keyword.arg == "file" and _dotted(keyword.value) != "sys.stderr" for keyword in node.keywords)
        if not to_file and (called in TELLING or called.endswith(".faults.add")):
            _blank_arguments(node)
        for keyword in node.keywords if called.endswith(".add_argument") else ():
            keyword.value = _blank(keyword.value) if keyword.arg == "help" else keyword.value


def _dotted(node: ast.expr) -> str:
    """`sys.exit` of names and their attributes; of anything else, nothing."""
    if isinstance(node, ast.Attribute):
        return f"{_dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def _blank_arguments(call: ast.Call) -> None:
    call.args = [_blank(item) for item in call.args]
    for keyword in call.keywords:
        keyword.value = _blank(keyword.value)


def _blank(node: ast.expr) -> ast.expr:
    """A text without its constant parts."""
    match node:
        case ast.Constant(value=str()):
            return ast.Constant("")
        case ast.JoinedStr():
            node.values = [_blank(part) for part in node.values if not isinstance(part, ast.Constant)]
            return node if node.values else ast.Constant("")
        case ast.FormattedValue():
            node.value = _blank(node.value)
        case ast.BinOp(op=ast.Add()):
            node.left, node.right = _blank(node.left), _blank(node.right)
        case ast.IfExp():
            node.body, node.orelse = _blank(node.body), _blank(node.orelse)
    return node


def _walk(node: ast.AST, written: list[str], found: _Written) -> None:
    """Write a syntax tree in a form that does not depend on optional empty fields."""
    kind = type(node)
    if isinstance(node, ast.Import | ast.ImportFrom):
        written.append("".join(sorted(_imported(node, found))))
        return
    if kind in (ast.Assert, ast.Raise, ast.Call):
        _without_words(node)
    written.append(f"({kind.__name__}")
    for name in kind._fields:
        value = getattr(node, name, None)
        if value is None or value == [] or name in UNWRITTEN:
            continue
        written.append(f" {name}=")
        children = _without_docstring(node, value) if name == "body" and isinstance(value, list) else value
        for child in children if isinstance(children, list) else (children,):
            if isinstance(child, ast.AST):
                _walk(child, written, found)
            else:
                written.append(f"{type(child).__name__}:{child!r};")
    written.append(")")


def _without_docstring(node: ast.AST, body: list) -> list:
    documented = isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
    if documented and body and isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant):
        if isinstance(body[0].value.value, str):
            return body[1:]
    return body
