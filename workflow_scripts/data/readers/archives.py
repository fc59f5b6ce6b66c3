"""Unpacking of tar and zip archives: only the members that are named, never outside their folder, whole or not at all."""

import calendar
import hashlib
import lzma
import os
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, Any

from workflow_scripts.base.errors import UserError, disk_fault, not_written, one_line

CHUNK = 1 << 20  # bytes
REPORT_EVERY = 5000  # files

# What a damaged archive makes its reader raise; the last: a compression that it does not know.
BROKEN = (
    *(tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError),
    *(OSError, ValueError, OverflowError, NotImplementedError, RuntimeError),
)


@dataclass(frozen=True)
class _Member:
    """One member of an archive: seconds since 1970 as it says, and a way to its content."""

    name: str
    is_folder: bool
    is_file: bool
    time: int
    open: Callable[[], Any]


def unpack(archive: str | Path, folder: str | Path, members: Sequence[str], largest: int) -> dict[str, list]:
    """Unpack some members of an archive into a folder of their own, which replaces an old one.

    Args:
        archive: a tar, compressed or not, or a zip.
        folder: appears under its name only when everything is unpacked.
        members: files and folders of the archive; each must be there.
        largest: bytes that the files may take together.

    Returns:
        by path below the folder, sorted: size in bytes, time in nanoseconds (the archive's) and SHA-256.

    Raises:
        UserError: no archive, damaged, without one of the members, larger than allowed, or with a name, a link or a
            device that would reach outside the folder.
    """
    archive, folder = Path(archive), Path(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    _remove_left(folder)  # by a job that was killed
    temporary = folder.with_name(f".{folder.name}.new.tmp")
    try:
        temporary.mkdir()
        files = _unpack_into(temporary, archive, members, largest)
        if folder.exists():
            os.replace(folder, folder.with_name(f".{folder.name}.old.tmp"))
        os.replace(temporary, folder)
    except BROKEN as error:
        if isinstance(error, OSError) and (reason := disk_fault(error)):
            raise not_written(folder, reason) from None
        raise UserError(f"{archive}: cannot be unpacked ({one_line(error)}); copy or download it again") from None
    finally:
        _remove_left(folder)
    return files


def _remove_left(folder: Path) -> None:
    for left in folder.parent.glob(f".{folder.name}.*.tmp"):
        shutil.rmtree(left)


def _unpack_into(target: Path, archive: Path, members: Sequence[str], largest: int) -> dict[str, list]:
    wanted = [PurePosixPath(member) for member in members]
    files: dict[str, list] = {}
    found: set[PurePosixPath] = set()
    total = 0
    for member in _members(archive):
        path = _checked(member.name, archive)
        above = [name for name in wanted if path.is_relative_to(name)]
        if not above or member.is_folder:
            continue
        if not member.is_file:
            raise UserError(
                f"{archive}: {member.name!r} is a link or a device, which is never unpacked; get another copy"
            )
        if str(path) in files:
            raise UserError(f"{archive}: {member.name!r} is in it twice; get another copy")
        found.update(above)
        (target / path).parent.mkdir(parents=True, exist_ok=True)
        with member.open() as content, open(target / path, "xb") as file:
            size, digest = _copied(content, file, largest - total, archive)
        total += size
        os.utime(target / path, (member.time, member.time))
        files[str(path)] = [size, member.time * 10**9, digest]
        if len(files) % REPORT_EVERY == 0:
            print(f"{archive.name}: {len(files)} files, {total >> 20} MiB", flush=True)
    for name in wanted:
        if name not in found:
            raise UserError(f"{archive}: has no {str(name)!r}; name another archive")
    return dict(sorted(files.items()))


def _copied(content: IO[bytes], file: IO[bytes], room: int, archive: Path) -> tuple[int, str]:
    """Size and SHA-256 of what was copied, counted on the way: the sizes that an archive states may be wrong."""
    digest, size = hashlib.sha256(), 0
    while chunk := content.read(CHUNK):
        size += len(chunk)
        if size > room:
            raise UserError(
                f"{archive}: its members take more than the bytes that `unpacked` allows; is it the right archive? "
                "Else raise it"
            )
        file.write(chunk)
        digest.update(chunk)
    return size, digest.hexdigest()


def _checked(name: str, archive: Path) -> PurePosixPath:
    """The path of a member; one that leads out of the folder spoils the archive, whether it is wanted or not."""
    path = PurePosixPath(name)
    if not name or path.is_absolute() or ".." in path.parts or "\\" in name or "\0" in name:
        raise UserError(f"{archive}: {name!r} would be written outside its folder; get another copy of the archive")
    return path


def _members(archive: Path) -> Iterator[_Member]:
    if not zipfile.is_zipfile(archive):
        yield from _tar_members(archive)
        return
    with zipfile.ZipFile(archive) as source:
        for item in source.infolist():
            if item.flag_bits & 1:
                raise UserError(f"{archive}: {item.filename!r} is encrypted; get another copy")
            kind = stat.S_IFMT(item.external_attr >> 16)  # none where the zip was not made under Unix
            time = calendar.timegm((*item.date_time, 0, 0, 0))
            is_folder = item.filename.endswith("/")  # its own is_dir() fails where a name is empty
            is_file = not is_folder and kind in (0, stat.S_IFREG)
            # Its own filename ends at a NUL character.
            yield _Member(item.orig_filename, is_folder, is_file, time, partial(source.open, item))


def _tar_members(archive: Path) -> Iterator[_Member]:
    with tarfile.open(archive, "r:*") as source:
        for item in source:
            yield _Member(item.name, item.isdir(), item.isreg(), int(item.mtime), partial(source.extractfile, item))
