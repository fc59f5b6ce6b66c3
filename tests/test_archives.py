"""Unpacking: what is named and nothing else, never outside the folder, whole or not at all."""

import hashlib
import io
import os
import stat
import tarfile
import zipfile
from pathlib import Path

import pytest
from conftest import refused
from small_archives import write_tar, write_zip

from workflow_scripts.data.readers.archives import unpack

FILES = {"set/a/one.txt": b"one", "set/a/b/two.bin": bytes(3000), "set/c.txt": b"c", "other/d.txt": b"d"}
ROOM = 10_000


def tar_of(path: Path, *items: tarfile.TarInfo) -> Path:
    with tarfile.open(path, "w") as archive:
        for item in items:
            archive.addfile(item, io.BytesIO(bytes(item.size)))
    return path


def item(name: str, kind: bytes = tarfile.REGTYPE, link: str = "", size: int = 0) -> tarfile.TarInfo:
    about = tarfile.TarInfo(name)
    about.type, about.linkname, about.size = kind, link, size
    return about


@pytest.fixture(params=["tar", "tgz", "zip"])
def archive(request, tmp_path) -> Path:
    path = tmp_path / f"archive.{request.param}"
    if request.param == "zip":
        return write_zip(path, FILES)
    return write_tar(path, FILES, "w:gz" if request.param == "tgz" else "w")


def test_named_members_alone(archive, tmp_path):
    out = tmp_path / "new" / "out"
    files = unpack(archive, out, ["set/a", "other/d.txt"], ROOM)
    found = {str(path.relative_to(out)): path for path in out.rglob("*") if path.is_file()}
    assert list(files) == sorted(found) == ["other/d.txt", "set/a/b/two.bin", "set/a/one.txt"]
    for name, path in found.items():
        size, time, digest = files[name]
        assert path.read_bytes() == FILES[name] and size == len(FILES[name])
        assert digest == hashlib.sha256(FILES[name]).hexdigest()
        assert path.stat().st_mtime_ns == time  # the archive's: the same list on every machine
        assert stat.S_IMODE(path.stat().st_mode) & 0o111 == 0
    assert [path.name for path in out.parent.iterdir()] == ["out"]


def test_a_new_folder_replaces_the_old_one(archive, tmp_path):
    out = tmp_path / "out"
    (out / "set").mkdir(parents=True)
    (out / "set" / "left.txt").write_text("of an older archive")
    killed = tmp_path / ".out.new.tmp"
    killed.mkdir()
    unpack(archive, out, ["set"], ROOM)
    assert not (out / "set" / "left.txt").exists() and (out / "set" / "c.txt").exists()
    assert not killed.exists()


def spoilt(archive: Path, tmp_path: Path, *fragments: str, members=("set",), largest: int = ROOM) -> None:
    """Refused in one line; what was there before is still there, and nothing else."""
    out = tmp_path / "place" / "out"
    out.mkdir(parents=True)
    (out / "before.txt").write_text("before")
    outside = sorted(path for path in tmp_path.rglob("*"))
    refused(lambda: unpack(archive, out, members, largest), archive, *fragments)
    assert sorted(path for path in tmp_path.rglob("*")) == outside


HOSTILE = {
    "parent": (item("../x"), "'../x' would be written outside"),
    "parent inside": (item("set/../../x"), "outside"),
    "absolute": (item("/tmp/x"), "'/tmp/x' would be written outside"),
    "backslash": (item("set\\..\\x"), "outside"),
    "symbolic link": (item("set/x", tarfile.SYMTYPE, "../../etc"), "'set/x' is a link or a device"),
    "absolute link": (item("set/x", tarfile.SYMTYPE, "/etc/passwd"), "link"),
    "hard link": (item("set/x", tarfile.LNKTYPE, "set/c.txt"), "link"),
    "pipe": (item("set/x", tarfile.FIFOTYPE), "device"),
    "device": (item("set/x", tarfile.CHRTYPE), "device"),
    "twice": (item("set/./c.txt"), "twice"),
    "file below a file": (item("set/c.txt/x"), "cannot be unpacked"),
}


@pytest.mark.parametrize(("hostile", "message"), HOSTILE.values(), ids=HOSTILE)
def test_hostile_tars(hostile, message, tmp_path):
    spoilt(tar_of(tmp_path / "a.tar", item("set/c.txt", size=3), hostile), tmp_path, message)


def test_a_link_and_what_is_written_through_it(tmp_path):
    path = tar_of(tmp_path / "a.tar", item("set", tarfile.SYMTYPE, str(tmp_path)), item("set/x", size=1))
    spoilt(path, tmp_path, "'set' is a link")


def test_links_that_nobody_asked_for_are_left_alone(tmp_path):
    path = tar_of(tmp_path / "a.tar", item("other/x", tarfile.SYMTYPE, "/etc"), item("set/c.txt", size=3))
    assert list(unpack(path, tmp_path / "out", ["set"], ROOM)) == ["set/c.txt"]


@pytest.mark.parametrize("name", ["../x", "/tmp/x", "set/../../x"])
def test_hostile_names_in_zips(name, tmp_path):
    spoilt(write_zip(tmp_path / "a.zip", {"set/c.txt": b"c", name: b"x"}), tmp_path, "outside")


@pytest.mark.parametrize("name", ["\0et/x", "set/\0"])
def test_names_in_zips_that_python_would_cut_off(name, tmp_path):
    path = write_zip(tmp_path / "a.zip", {"set/c.txt": b"c", "?" * len(name): b"x"})
    path.write_bytes(path.read_bytes().replace(b"?" * len(name), name.encode()))
    spoilt(path, tmp_path, "outside")


def test_links_in_zips(tmp_path):
    about = zipfile.ZipInfo("set/x")
    about.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(about, "/etc/passwd")
    spoilt(tmp_path / "a.zip", tmp_path, "'set/x' is a link")


def test_encrypted_zips(tmp_path):
    path = write_zip(tmp_path / "a.zip", {"set/c.txt": b"c"})
    data = bytearray(path.read_bytes())
    data[data.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(data)
    spoilt(path, tmp_path, "encrypted")


def test_more_than_the_bytes_that_are_allowed(archive, tmp_path):
    spoilt(archive, tmp_path, "more than the bytes", largest=3003)
    assert unpack(archive, tmp_path / "out", ["set"], 3004)


def test_a_member_that_is_not_there(archive, tmp_path):
    spoilt(archive, tmp_path, "has no 'set/e'", members=("set/a", "set/e"))


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_truncated(archive, tmp_path, share):
    whole = archive.read_bytes()
    if archive.suffix == ".tar":
        whole = whole[: whole.rindex(b"d") + 1]  # without the padding at its end
    archive.write_bytes(whole[: int(len(whole) * share)])
    members = ("set", "other/d.txt")
    out = tmp_path / "place" / "out"
    message = refused(lambda: unpack(archive, out, members, ROOM), archive)
    assert "cannot be unpacked" in message or "has no" in message
    assert not list(out.parent.iterdir())


@pytest.mark.parametrize("content", [b"", b"no archive at all", os.urandom(2000)], ids=["empty", "text", "noise"])
def test_no_archive(tmp_path, content):
    (tmp_path / "a.tar").write_bytes(content)
    spoilt(tmp_path / "a.tar", tmp_path, "cannot be unpacked")


def test_damaged_content(tmp_path):
    path = write_zip(tmp_path / "a.zip", {"set/c.txt": os.urandom(3000)})
    data = bytearray(path.read_bytes())
    data[1000] ^= 255
    path.write_bytes(data)
    spoilt(path, tmp_path, "cannot be unpacked")
