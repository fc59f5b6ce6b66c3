"""What decides an artifact: the resolved settings of its block and the code that the job uses.

Rules hand both to Snakemake as params, sidecars record them, `verify` compares them, and the trainer resumes only
under the same fingerprint. The digest of the code is that of the syntax trees, without docstrings, comments and
layout, of the stage's module, of everything it imports from this package, transitively, and of the modules that the
block names. It holds within one minor version of Python, whose syntax trees it walks.
"""

import ast
import hashlib
import json
from collections.abc import Iterable
from functools import cache
from pathlib import Path

PACKAGE = "workflow_scripts"
ROOT = Path(__file__).resolve().parent.parent


def canonical(settings: dict) -> str:
    """One JSON text for equal settings, whatever the order of their keys."""
    return json.dumps(settings, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def code_digest(modules: Iterable[str]) -> str:
    """Digest of the named modules (dotted, below this package) and of all they import from it."""
    total = hashlib.sha256()
    for name in closure(modules):
        total.update(f"{name}:{_module_digest(name)}\n".encode())
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


def _path(name: str) -> Path:
    base = ROOT.joinpath(*name.split(".")) if name else ROOT
    return base.with_suffix(".py") if name and base.with_suffix(".py").exists() else base / "__init__.py"


@cache
def _tree(name: str) -> ast.Module:
    return ast.parse(_path(name).read_text(encoding="utf-8"))


@cache
def _imports(name: str) -> tuple[str, ...]:
    found: set[str] = set()
    for node in ast.walk(_tree(name)):
        if isinstance(node, ast.Import):
            candidates = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            # Relative imports are not used in this package; the linter refuses them.
            candidates = [node.module or ""] + [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for candidate in candidates:
            if candidate.startswith(f"{PACKAGE}."):
                module = candidate.removeprefix(f"{PACKAGE}.")
                if _path(module).exists():
                    found.add(module)
    return tuple(sorted(found))


@cache
def _module_digest(name: str) -> str:
    digest = hashlib.sha256()
    _walk(_tree(name), digest)
    return digest.hexdigest()


def _walk(node: ast.AST, digest) -> None:
    """Feed a syntax tree to the digest, in a form that does not depend on optional empty fields."""
    digest.update(f"({type(node).__name__}".encode())
    for field, value in ast.iter_fields(node):
        if field in {"ctx", "kind", "type_comment"} or value is None or value == []:
            continue
        digest.update(f" {field}=".encode())
        children = _without_docstring(node, value) if field == "body" and isinstance(value, list) else value
        for child in children if isinstance(children, list) else [children]:
            if isinstance(child, ast.AST):
                _walk(child, digest)
            else:
                digest.update(f"{type(child).__name__}:{child!r};".encode())
    digest.update(b")")


def _without_docstring(node: ast.AST, body: list) -> list:
    documented = isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
    if documented and body and isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant):
        if isinstance(body[0].value.value, str):
            return body[1:]
    return body
