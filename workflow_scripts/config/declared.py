"""The block classes of a module apart from its code: all that planning reads of it, and what its digest leaves out."""

import ast
from collections.abc import Iterable, Iterator
from pathlib import Path

from workflow_scripts.base.errors import UserError, one_line

TYPES = "workflow_scripts.config.types"
READ = ("typing", "pydantic", "collections", "itertools", "math", "os", "pathlib", "re", "workflow_scripts.base", TYPES)


def read(path: Path, name: str) -> list[type]:
    """The block classes of the file of module `name`; nothing else of it is run.

    Raises:
        UserError: no Python, or a class that needs more than it may, or that pydantic refuses; with file and line.
    """
    if TYPES.encode() not in path.read_bytes():
        return []
    statements = declarations(parsed(path))
    found: dict = {"__name__": name}
    for node in statements:
        for module, line in _imported(node):
            if not any(module == known or module.startswith(f"{known}.") for known in READ):
                raise UserError(
                    f"{path}:{line}: a class of settings uses {module!r}; it may import {', '.join(READ)} alone, "
                    "so that planning stays fast"
                )
        try:
            exec(compile(ast.Module([node], []), str(path), "exec"), found)  # noqa: S102 - code of ours or of a plug-in
        except Exception as error:
            raise UserError(f"{path}:{node.lineno}: {type(error).__name__}: {one_line(error)}; correct it") from error
    return [found[node.name] for node in statements if isinstance(node, ast.ClassDef)]


def parsed(path: Path) -> ast.Module:
    """The syntax tree of a file.

    Raises:
        UserError: it is no Python.
    """
    try:
        return ast.parse(path.read_text(encoding="utf-8"), str(path))
    except SyntaxError as error:
        raise UserError(f"{path}:{error.lineno or 1}: {error.msg}; correct it") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: {one_line(error)}; write it in UTF-8") from None


def declarations(tree: ast.Module) -> list[ast.stmt]:
    """Classes derived from those of `config.types`, with the imports, constants and functions that these use, in order."""
    statements = tree.body = list(_single(tree.body))
    bases = {name for node in statements for name in _bound(node) for module, _ in _imported(node) if _typed(module)}
    classes = []
    for node in statements:
        if isinstance(node, ast.ClassDef) and any(ast.unparse(base).partition(".")[0] in bases for base in node.bases):
            classes.append(node)
            bases.add(node.name)
    return _with_used(statements, classes)


def without_declarations(tree: ast.Module) -> ast.Module:
    """The code of a module: all but its block classes and what they alone use."""
    declared = {*declarations(tree)}
    if not declared:
        return tree
    tree.body = _with_used(tree.body, [node for node in tree.body if node not in declared])
    return tree


def _with_used(statements: list[ast.stmt], roots: Iterable[ast.stmt]) -> list[ast.stmt]:
    """The roots and the statements that bind a name that they use, and so on."""
    binding: dict[str, list[ast.stmt]] = {}
    for node in statements:
        for name in _bound(node):
            binding.setdefault(name, []).append(node)
    queue, kept = [*roots], set()
    while queue:
        node = queue.pop()
        if node not in kept:
            kept.add(node)
            names = (
                part.id for part in ast.walk(node) if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Load)
            )
            queue += [used for name in names for used in binding.get(name, ())]
    return [node for node in statements if node in kept]


def _single(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Statements, each import with one name."""
    for node in body:
        if isinstance(node, ast.Import):
            yield from (ast.copy_location(ast.Import([alias]), node) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parts = (ast.ImportFrom(node.module, [alias], node.level) for alias in node.names)
            yield from (ast.copy_location(part, node) for part in parts)
        else:
            yield node


def _bound(node: ast.stmt) -> list[str]:
    match node:
        case ast.Import(names=[alias]):
            return [alias.asname or alias.name.partition(".")[0]]
        case ast.ImportFrom(names=[alias]):
            return [alias.asname or alias.name]
        case ast.ClassDef() | ast.FunctionDef():
            return [node.name]
        case ast.Assign():
            return [part.id for target in node.targets for part in ast.walk(target) if isinstance(part, ast.Name)]
        case ast.AnnAssign(target=ast.Name(id=name)):
            return [name]
    return []


def _imported(node: ast.stmt) -> Iterator[tuple[str, int]]:
    if isinstance(node, ast.Import):
        yield node.names[0].name, node.lineno
    elif isinstance(node, ast.ImportFrom):
        yield node.module or "", node.lineno


def _typed(module: str) -> bool:
    return module.startswith(TYPES)
