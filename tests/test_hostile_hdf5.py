"""HDF5 files made to do harm end in one line and reach nothing outside, see also test_hostile_files."""

import zlib
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from bounded_reads import bounded
from conftest import refused
from small_images import CLASSES
from torch import nn

from workflow_scripts.data.checkpoints.saliency_weights import load_published
from workflow_scripts.data.index import read_index, write_index
from workflow_scripts.data.index_entries import Entry
from workflow_scripts.store.artifacts import PACKED, Reader, create

ABOUT = {"dataset": "demo", "split": "train", "classes": CLASSES}
SECRET = np.arange(5000, dtype=np.uint8).reshape(50, 100)


def secret(folder: Path) -> Path:
    path = folder / "elsewhere.h5"
    with h5py.File(path, "w") as file:
        file["secret"] = SECRET
        file.create_group("group")["label"] = SECRET
    return path


def bomb(group: h5py.Group) -> None:
    """A terabyte that was never written, a few bytes in the file."""
    group.create_dataset("label", (1 << 20, 1 << 20), np.uint8, chunks=(1 << 10, 1 << 20), compression="gzip")


def written_bomb(group: h5py.Group) -> None:
    """Of 2 GiB a chunk is there, of which the file says that it is all."""
    data = group.create_dataset("label", (1 << 15, 1 << 16), np.uint8, chunks=(1 << 15, 1 << 16), compression="gzip")
    data.id.write_direct_chunk((0, 0), zlib.compress(bytes(1 << 20), 9) * (1 << 11))


def virtual(group: h5py.Group) -> None:
    layout = h5py.VirtualLayout(shape=SECRET.shape, dtype=np.uint8)
    layout[:] = h5py.VirtualSource(str(secret(Path(group.file.filename).parent)), "secret", shape=SECRET.shape)
    group.create_virtual_dataset("label", layout)


def raw(group: h5py.Group) -> None:
    (Path(group.file.filename).parent / "raw").write_bytes(SECRET.tobytes())
    group.create_dataset("label", SECRET.shape, np.uint8, external=[("raw", 0, h5py.h5f.UNLIMITED)])


def put(name: str, value) -> Callable[[h5py.Group], None]:
    def fill(group: h5py.Group) -> None:
        group[name] = value

    return fill


HDF5 = {
    "link to another file": lambda group: put("label", h5py.ExternalLink(secret(Path(group.file.filename).parent), "secret"))(group),
    "soft link": put("label", h5py.SoftLink("/other/label")),
    "link to nothing": put("label", h5py.SoftLink("/nowhere")),
    "virtual": virtual,
    "raw data of another file": raw,
    "bomb": bomb,
    "written bomb": written_bomb,
    "texts": put("label", ["a", "b"]),
    "references": lambda group: group.create_dataset("label", data=np.array([group.ref], h5py.ref_dtype)),
    "objects": lambda group: group.create_dataset("label", (2,), h5py.vlen_dtype(np.int32)),
    "records": put("label", np.zeros(3, [("a", "i4"), ("b", "f8")])),
    "group": lambda group: group.create_group("label"),
    "complex numbers": put("label", np.zeros(3, complex)),
}  # fmt: skip


@pytest.mark.parametrize("fill", HDF5.values(), ids=HDF5)
def test_artifacts_hold_numbers_of_their_own(tmp_path, fill):
    path = tmp_path / "a.h5"
    with create(path, "mask", **ABOUT) as artifact:
        artifact.put("other", label=SECRET)
    with h5py.File(path, "r+") as file:
        fill(file.create_group("a"))
    reader = Reader(path, "mask")
    bounded(lambda: reader.read("a"), path, "image 'a' cannot be read, the file is damaged; delete it and run again")
    np.testing.assert_array_equal(Reader(path, "mask").read("other")["label"], SECRET)
    network = nn.Linear(1, 1)
    bounded(lambda: load_published(network, str(path)), path)


@pytest.mark.parametrize(
    "target", [h5py.SoftLink("/other"), h5py.ExternalLink("elsewhere.h5", "group")], ids=["soft", "external"]
)
def test_images_are_no_links(tmp_path, target):
    path = tmp_path / "a.h5"
    secret(tmp_path)
    with create(path, "mask", **ABOUT) as artifact:
        artifact.put("other", label=SECRET)
    with h5py.File(path, "r+") as file:
        file["a"] = target
    bounded(lambda: Reader(path, "mask").read("a"), path, "image 'a' cannot be read")


def test_arrays_that_pack_well_are_no_bombs(tmp_path):
    with create(tmp_path / "a.h5", "mask", **ABOUT) as artifact:
        artifact.put("a", label=np.zeros((10_000, 10_000), np.uint8))
    assert (tmp_path / "a.h5").stat().st_size > 1e8 / PACKED
    assert Reader(tmp_path / "a.h5", "mask").read("a")["label"].shape == (10_000, 10_000)


COLUMNS = {
    "two rows of one id": ("ids", ["a", "a"]),
    "ids that are numbers": ("ids", np.zeros(2)),
    "fewer sizes": ("sizes", np.ones((1, 2), np.int32)),
    "sizes below 1": ("sizes", np.zeros((2, 2), np.int32)),
    "labels of other classes": ("labels", np.zeros((2, 30), np.uint8)),
    "boxes that are no numbers": ("boxes", np.full((2, 5), np.nan, np.float32)),
    "marks of other boxes": ("crowds", np.zeros(3, np.uint8)),
    "marks that are no numbers": ("crowds", np.zeros(2)),
    "offsets that go back": ("box_offsets", np.array([0, 3, 2])),
    "offsets outside": ("box_offsets", np.array([0, 1, 9])),
    "rows outside": ("splits/train", np.array([0, 2])),
    "rows below": ("splits/train", np.array([-1])),
    "rows that are no numbers": ("splits/train", np.zeros(2)),
}


@pytest.mark.parametrize(("name", "values"), COLUMNS.values(), ids=COLUMNS)
def test_an_index_fits_together(tmp_path, name, values):
    entries = [Entry(name, "", 20, 30, "", (0,), np.zeros((1, 5), np.float32)) for name in "ab"]
    write_index(tmp_path / "index.h5", "demo", CLASSES, entries, {"train": ["a", "b"]})
    assert len(read_index(tmp_path / "index.h5").split("train")) == 2
    with h5py.File(tmp_path / "index.h5", "r+") as file:
        del file[name]
        file[name] = values
    refused(lambda: read_index(tmp_path / "index.h5"), tmp_path / "index.h5", "damaged; delete it and run again")
