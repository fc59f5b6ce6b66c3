"""Files made to do harm end in one line, in little memory and time, and reach nothing outside.

More of them stand with their readers: archives (test_archives), pickles with code (test_networks, test_training_loop), XML
entities and lists of ids (test_voc_reader), formats and sizes of images (test_image_readers), tables (test_csv_reader).
"""

import json
import struct
import tarfile
import zlib

import pytest
import torch
from bounded_reads import bounded
from conftest import refused
from small_images import CLASSES, png
from torch import nn

from workflow_scripts.base.errors import UserError, one_line
from workflow_scripts.base.listings import listed_ids
from workflow_scripts.commands.inspect import describe_weights
from workflow_scripts.config.resolve import Config
from workflow_scripts.config.yaml_files import read_yaml
from workflow_scripts.data.checkpoints.mxnet_params import read_params
from workflow_scripts.data.checkpoints.weights import load_weights
from workflow_scripts.data.index_entries import check_id
from workflow_scripts.data.kinds.coco import read_coco
from workflow_scripts.data.kinds.csv import read_csv
from workflow_scripts.data.kinds.voc import read_voc
from workflow_scripts.data.readers.archives import unpack
from workflow_scripts.data.readers.images import check_image, read_image, read_label_png
from workflow_scripts.data.readers.mat_files import Damaged, read_variable
from workflow_scripts.store.provenance import read_sidecar

# --- YAML and JSON ----------------------------------------------------------------------------------------------------


def laughs(levels: int, key: str = "") -> str:
    """Each level names the one before nine times."""
    lines = [f"x0: &a0 {'{a: b}' if key else '[a, b]'}"]
    for level in range(1, levels):
        inside = ", ".join([f"*a{level - 1}"] * 9)
        lines.append(f"x{level}: &a{level} " + (f"{{<<: [{inside}]}}" if key else f"[{inside}]"))
    return "\n".join(lines)


YAML = {
    "aliases of aliases": (laughs(30), "its aliases stand for more than"),
    "merged keys": (laughs(30, "<<"), "its aliases stand for more than"),
    "an alias within itself": ("a: &a [*a]", "its aliases stand for more than"),
    "nested too deep": ("a: " + "[" * 50_000, "nest"),
    "code": ("a: !!python/object/apply:os.system [touch harm]", "not valid YAML"),
    "a date that is none": ("a: 2001-99-99", "not valid YAML"),
    "a number that is none": ("a: !!int x", "not valid YAML"),
    "a time that is none": ("a: !!timestamp x", "not valid YAML"),
    "a number of many digits": (f"a: {'9' * 5000}", "not valid YAML"),
    "a key that is a list": ("? [a]\n: b", "not valid YAML"),
    "control characters": ("a: \x1b[2J", "not valid YAML"),
}  # fmt: skip


@pytest.mark.parametrize(("text", "message"), YAML.values(), ids=YAML)
def test_yaml(tmp_path, monkeypatch, text, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.yaml").write_text(text)
    bounded(lambda: read_yaml(tmp_path / "a.yaml"), tmp_path / "a.yaml", message)
    assert not (tmp_path / "harm").exists()


def test_aliases_of_people_are_read(tmp_path):
    (tmp_path / "a.yaml").write_text("a: &a {b: 1}\nc: {<<: *a, d: [*a, *a]}")
    assert read_yaml(tmp_path / "a.yaml") == {"a": {"b": 1}, "c": {"b": 1, "d": [{"b": 1}, {"b": 1}]}}


@pytest.mark.parametrize("name", ["../../x", "/etc/passwd", "a b", "-rf", "a\n", "\u202ea", ""])
def test_names_of_blocks_are_no_paths(shipped, name):
    refused(lambda: Config({**shipped, "masks": {**shipped["masks"], name: {}}}), "config: masks: ", "is no name")


INSTANCE = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 1, 2, 2], "segmentation": [[1, 1, 3, 1, 3, 3]]}
JSON = {
    "not a number": (json.dumps({**INSTANCE, "bbox": [1, float("nan"), 2, 2]}), "bbox"),
    "infinity": (json.dumps({**INSTANCE, "bbox": [1, float("-inf"), 2, 2]}), "bbox"),
    "hundreds of digits": (json.dumps({**INSTANCE, "bbox": [1, 10**400, 2, 2]}), "bbox"),
    "thousands of digits": (json.dumps(INSTANCE).replace('"id": 1', '"id": ' + "1" * 5000), "broken JSON"),
    "nested": (json.dumps(INSTANCE).replace("[1, 1, 2, 2]", "[" * 100_000), "broken JSON"),
    "a path": ("", "file_name '../../x.jpg' leads out of a folder"),
}


@pytest.mark.parametrize(("annotation", "message"), JSON.values(), ids=JSON)
def test_coco_json(tmp_path, annotation, message):
    name = "a.jpg" if annotation else "../../x.jpg"
    image, category = json.dumps({"id": 1, "file_name": name}), json.dumps({"id": 1, "name": "cat"})
    text = f'{{"images": [{image}], "categories": [{category}], "annotations": [{annotation}]}}'
    (tmp_path / "a.json").write_text(text)
    bounded(lambda: read_coco(tmp_path, CLASSES, {"train": ("a.json", ".")}), "a.json", message)


def test_a_sidecar_that_is_nested_too_deep_is_none(tmp_path):
    (tmp_path / "a.h5.json").write_text("[" * 100_000)
    assert read_sidecar(tmp_path / "a.h5") is None


# --- tables, lists, annotations and ids -------------------------------------------------------------------------------

IDS = {
    "../../x": "has a slash",
    "/etc/passwd": "has a slash",
    "..": "starts with '.'",
    "con": "device",
    "NUL.old": "device",
    "-rf": "an option",
    "a\nb": "control characters",
    "\x1b[2J": "control characters",
    "\u202egpj.exe": "control characters",
    "\u00e4" * 150: "takes 300 bytes",
    "a" * 100_000: "takes 100000 bytes",
    "\udcff": "control characters",
}


@pytest.mark.parametrize("identifier", IDS, ids=range(len(IDS)))
def test_ids(identifier):
    assert str(refused(lambda: check_id(identifier), IDS[identifier])).isprintable()


@pytest.mark.parametrize(
    "identifier", ["2007_000032", "COCO_train2014_000000000009", "J\u00fcrgen 3", "content", "a-rf", "\u732b"]
)
def test_ids_of_people(identifier):
    check_id(identifier)


def test_files_too_long_for_what_they_are(tmp_path):
    """Sparse: they take no space on the disk."""
    path = tmp_path / "a.csv"
    for name in ("a.csv", "a.jpg"):
        with open(tmp_path / name, "wb") as file:
            file.write(b"id,image,labels\n")
            file.truncate(1 << 30)
    bounded(lambda: read_csv(path, CLASSES, {"train": ""}), path, "more than 256 MiB")
    bounded(lambda: listed_ids(path), path, "more than 256 MiB")
    bounded(lambda: read_image(tmp_path / "a.jpg"), "a.jpg", "more than 512 MiB")
    for folder in ("JPEGImages", "Annotations"):
        (tmp_path / folder).mkdir()
    (tmp_path / "list.txt").write_text("a\n")
    (tmp_path / "a.jpg").rename(tmp_path / "Annotations" / "a.xml")
    bounded(lambda: read_voc(tmp_path, CLASSES, {"train": "list.txt"}), "a.xml", "more than 64 MiB")


@pytest.mark.parametrize(
    "content", [b"\0" * 1_000_000, b"a" * 10_000_000, b'"' + b"a" * 10_000_000, b"a," * 1_000_000, b"\n" * 10]
)
def test_tables_of_one_line(tmp_path, content):
    path = tmp_path / "a.csv"
    path.write_bytes(b"id,image,labels\n" + content)
    bounded(lambda: read_csv(path, CLASSES, {"train": ""}), path)


# --- images, archives, weights and MATLAB's files ---------------------------------------------------------------------


def tiff(width: int, height: int) -> bytes:
    tags = [
        (256, 4, width),
        (257, 4, height),
        (258, 3, 8),
        (259, 3, 8),
        (262, 3, 1),
        (273, 4, 8),
        (278, 4, height),
        (279, 4, 8),
    ]
    return (
        b"II*\0\x08\0\0\0"
        + struct.pack("<H", len(tags))
        + b"".join(struct.pack("<HHII", t, k, 1, v) for t, k, v in tags)
        + bytes(4)
    )


@pytest.mark.parametrize(
    "content", [png(100_000, 100_000), png(2**31 - 1, 2**31 - 1), tiff(100_000, 100_000), tiff(2**32 - 1, 1)]
)
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_images_that_claim_to_be_large(tmp_path, content):
    path = tmp_path / "a.png"
    path.write_bytes(content)
    for read in (check_image, read_image, lambda path: read_label_png(path, None, 3)):
        bounded(lambda read=read: read(path), path, "larger than 100 megapixels" if read is not check_image else "")


def test_text_in_a_png_that_unpacks_to_much(tmp_path):
    content = zlib.compress(bytes(1 << 28), 9)
    chunk = b"zTXta\0\0" + content
    whole = png(1, 1, 8, 0, b"\0\1")
    whole = whole[:33] + struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk)) + whole[33:]
    (tmp_path / "a.png").write_bytes(whole)
    bounded(lambda: read_image(tmp_path / "a.png"), tmp_path / "a.png", "truncated or corrupt")


@pytest.mark.parametrize("mode", ["w:gz", "w:xz"])
def test_an_archive_that_unpacks_to_much(tmp_path, mode):
    path = tmp_path / "a.tar"
    with tarfile.open(path, mode) as archive:
        about = tarfile.TarInfo("set/zeros")
        about.size = 1 << 26
        with open("/dev/zero", "rb") as zeros:
            archive.addfile(about, zeros)
    bounded(
        lambda: unpack(path, tmp_path / "out", ["set"], 1 << 20), path, "more than the bytes that `unpacked` allows"
    )
    assert not (tmp_path / "out").exists()


HEADERS = {
    "longer than the file": struct.pack("<Q", 1 << 40) + b"{}",
    "of 2^64 bytes": b"\xff" * 8 + b"{}",
    "of nothing": struct.pack("<Q", 0),
    "offsets outside": json.dumps({"weight": {"dtype": "F32", "shape": [1, 1], "data_offsets": [0, 1 << 50]}}).encode(),
    "offsets that go back": json.dumps({"weight": {"dtype": "F32", "shape": [1, 1], "data_offsets": [4, 0]}}).encode(),
    "a shape of another size": json.dumps(
        {"weight": {"dtype": "F32", "shape": [1 << 40], "data_offsets": [0, 4]}}
    ).encode(),
    "a type that is none": json.dumps({"weight": {"dtype": "X9", "shape": [1], "data_offsets": [0, 4]}}).encode(),
    "nested": b'{"a": ' + b"[" * 100_000,
}


@pytest.mark.parametrize("header", HEADERS.values(), ids=HEADERS)
def test_safetensors_that_lie(tmp_path, header):
    path = tmp_path / "a.safetensors"
    path.write_bytes((b"" if header[:1] not in (b"{",) else struct.pack("<Q", len(header))) + header + bytes(4))
    bounded(lambda: load_weights(nn.Linear(1, 1), path), path)
    bounded(lambda: list(describe_weights(path)), path, "not readable weights")


@pytest.mark.parametrize("shape", [(1 << 40, 1 << 22), (0, 1 << 62)])
def test_mxnet_parameters_that_lie(tmp_path, shape):
    path = tmp_path / "a.params"
    array = struct.pack("<Ii", 0xF993FAC9, 0) + struct.pack("<Iqq", 2, *shape) + struct.pack("<iii", 1, 0, 0)
    path.write_bytes(struct.pack("<QQQ", 0x112, 0, 1) + array + bytes(64))
    bounded(lambda: read_params(path), path, "damaged or truncated")


def test_tensors_that_share_little_storage(tmp_path):
    """A terabyte by strides over one number: the shape is compared before anything is copied."""
    torch.save({"weight": torch.zeros(1).expand(1 << 20, 1 << 20)}, tmp_path / "a.pth")
    bounded(lambda: load_weights(nn.Linear(1, 1), tmp_path / "a.pth"), tmp_path / "a.pth", "another shape")


def element(kind: int, content: bytes) -> bytes:
    return struct.pack("<II", kind, len(content)) + content + bytes(-len(content) % 8)


def matrix(kind: int, shape: tuple[int, ...], *parts: bytes, name: bytes = b"a") -> bytes:
    about = (
        element(6, struct.pack("<II", kind, 0)) + element(5, struct.pack(f"<{len(shape)}i", *shape)) + element(1, name)
    )
    return element(14, about + b"".join(parts))


def inside(levels: int) -> bytes:
    return matrix(1, (1, 1), inside(levels - 1) if levels else matrix(6, (1, 1), element(9, bytes(8))))


MATRICES = {
    "type that is none": matrix(6, (1, 1), element(200, bytes(8))),
    "size of another": matrix(6, (1 << 20, 1 << 20), element(9, bytes(8))),
    "negative size": matrix(6, (-1, -8), element(9, bytes(8 * 8))),
    "no size": matrix(6, (), element(9, bytes(8))),
    "cells without end": matrix(1, (1 << 30, 1)),
    "nested": inside(200),
    "sparse bomb": matrix(5, (1 << 30, 1 << 30), element(5, bytes(4)), element(5, bytes(8)), element(9, bytes(8))),
    "sparse places outside": matrix(5, (3, 1), element(5, b"\t\0\0\0"), element(5, struct.pack("<ii", 0, 1)), element(9, bytes(8))),
    "sparse columns that go back": matrix(5, (3, 2), element(5, bytes(8)), element(5, struct.pack("<iii", 0, 2, 1)), element(9, bytes(16))),
    "a packed bomb": element(15, zlib.compress(bytes(1 << 29), 9)),
    "packed in itself": element(15, zlib.compress(element(15, zlib.compress(bytes(100))))),
    "truncated": matrix(6, (4, 4), element(9, bytes(128)))[:-30],
    "text": matrix(4, (1, 4), element(16, b"abcd")),
}  # fmt: skip


@pytest.mark.parametrize("content", MATRICES.values(), ids=MATRICES)
def test_matlab_files_that_lie(tmp_path, content):
    path = tmp_path / "a.mat"
    path.write_bytes(b" " * 124 + b"\x00\x01IM" + content)

    def read() -> None:
        try:
            read_variable(path, "a")
        except Damaged as error:
            raise UserError(f"{path}: {one_line(error)}") from None

    bounded(read, path)
