"""A folder as an artifact: filled under a temporary name and renamed, with a list of its files' digests beside it."""

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from workflow_scripts.base.digests import file_sha256


@contextlib.contextmanager
def replaced_folder(path: str | Path) -> Iterator[Path]:
    """A new folder beside `path` that takes its place at the end, and is removed on an error."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    for left in path.parent.glob(f".{path.name}.*.tmp"):  # by a run that was killed
        shutil.rmtree(left)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    temporary.mkdir()
    try:
        yield temporary
        if path.exists():
            shutil.rmtree(path)
        os.replace(temporary, path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def listing(folder: str | Path, name: str) -> str:
    """Lines `digest  name/file` of all files below a folder, sorted, as `sha256sum --check` reads them."""
    files = sorted(path.relative_to(folder).as_posix() for path in Path(folder).rglob("*") if path.is_file())
    return "".join(f"{file_sha256(Path(folder, file))}  {name}/{file}\n" for file in files)


def listed(path: str | Path) -> dict[str, str]:
    """Digest by path of the files of a listing, the paths as they are from where `path` is."""
    lines = Path(path).read_text(encoding="utf-8").splitlines()
    return {str(Path(path).parent / name): digest for digest, name in (line.split("  ", 1) for line in lines)}
