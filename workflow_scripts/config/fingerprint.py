"""What decides an artifact: the resolved settings of its block and the code that the job uses.

Rules hand both to Snakemake as params, sidecars record them, `verify` compares them, and the trainer resumes only
under the same fingerprint. The digest of the code is that of the syntax trees of the stage's module, of everything it
imports from this package, transitively, and of the modules that the block names. What changes no byte of an artifact
does not count: docstrings, comments, layout, the words of messages, the modules `UNCOUNTED`, the classes of blocks, whose
values count as settings, in which folder a module lies and in which order it imports others. It holds within one minor
version of Python, whose syntax trees it walks.
"""

import ast
import hashlib
import json
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

from workflow_scripts.base.plugins import folders
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


def _imports(name: str) -> tuple[str, ...]:
    return _read(name)[0]


def _module_digest(name: str) -> str:
    return _read(name)[1]


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


def _bindings(node: ast.Import | ast.ImportFrom) -> Iterator[tuple[str, str, str]]:
    """What an import makes known: module, name in it or nothing for the module itself, and the name that it is given."""
    for alias in node.names:
        if isinstance(node, ast.Import):
            yield alias.name, "", alias.asname or alias.name
        # Relative imports are not used in this package; the linter refuses them.
        elif _is_ours(inner := f"{node.module}.{alias.name}"):
            yield inner, "", alias.asname or alias.name
        else:
            yield node.module or "", alias.name, alias.asname or alias.name


@cache
def _read(name: str) -> tuple[tuple[str, ...], str]:
    """What a module imports of this package, and the digest of its tree, which takes the time of a plan: both at once.

    Imported modules of this package stand in the tree by their digests, whatever they are called. There are no circles of
    imports, as a test says.
    """
    tree = without_declarations(ast.parse(_source(name)))
    written, found = list[str](), set[str]()
    if package := name.rpartition(".")[0]:  # importing a module runs the package that holds it
        written.append(_module_digest(package) if _runs(package) else "")
    imports = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    written += sorted({line for node in imports for line in _imported(node, found)})
    tree.body = [node for node in tree.body if node not in imports]
    _walk(tree, written, found)
    return tuple(sorted(found)), hashlib.sha256("".join(written).encode()).hexdigest()


def _imported(node: ast.Import | ast.ImportFrom, found: set[str]) -> Iterator[str]:
    """A line for each name of an import; modules of this package are added to those found."""
    for module, *names in _bindings(node):
        inner = module.removeprefix(f"{PACKAGE}.")
        if _is_ours(module):
            found.add(inner)
            module = "" if inner in UNCOUNTED else _module_digest(inner)
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


def _walk(node: ast.AST, written: list[str], found: set[str]) -> None:
    """Write a syntax tree in a form that does not depend on optional empty fields."""
    kind = type(node)
    if isinstance(node, ast.Import | ast.ImportFrom):
        written.append("".join(sorted(_imported(node, found))))
        return
    if kind in (ast.Assert, ast.Raise, ast.Call):
        _without_words(node)
    written.append(f"({kind.__name__}")
    for field in kind._fields:
        value = getattr(node, field, None)
        if value is None or value == [] or field in UNWRITTEN:
            continue
        written.append(f" {field}=")
        children = _without_docstring(node, value) if field == "body" and isinstance(value, list) else value
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
