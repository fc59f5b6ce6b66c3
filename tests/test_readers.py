"""The readers of images, label maps, VOC trees and CSV tables: what they return, and the one line of each fault."""

import hashlib
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from workflow_scripts.data.csv_table import read_csv
from workflow_scripts.data.images import (
    check_image,
    file_digest,
    image_size,
    read_image,
    read_label_png,
    read_saliency,
)
from workflow_scripts.data.index_entries import Faults, check_id, nearest
from workflow_scripts.data.voc import VOC_CLASSES, mask_ids, read_voc
from workflow_scripts.errors import UserError

HEIGHT, WIDTH = 20, 30


def noise(height=HEIGHT, width=WIDTH, channels=3, seed=0):
    return np.random.RandomState(seed).randint(0, 256, (height, width, channels)).astype(np.uint8).squeeze()


def png(width, height, depth=8, colour=2, row=b""):
    """A PNG written by hand: any size and depth in the header, `row` (filter byte first) repeated as content."""

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    content = zlib.compress(row * height) if row else zlib.compress(b"")
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", content) + chunk(b"IEND", b"")


def one_line(call, *fragments):
    """The call ends in a UserError of one line that holds all fragments."""
    with pytest.raises(UserError) as caught:
        call()
    message = str(caught.value)
    assert "\n" not in message
    for fragment in fragments:
        assert str(fragment) in message
    return message


# --- images ---------------------------------------------------------------------------------------------------------


def test_read_image_returns_the_pixels(tmp_path):
    pixels = noise()
    Image.fromarray(pixels).save(tmp_path / "a.png")
    image = read_image(tmp_path / "a.png")
    assert image.dtype == np.uint8 and image.flags.c_contiguous and image.flags.writeable
    np.testing.assert_array_equal(image, pixels)
    assert image_size(tmp_path / "a.png") == (HEIGHT, WIDTH)


def test_read_image_repeats_gray(tmp_path):
    gray = noise(channels=1)
    Image.fromarray(gray).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), np.repeat(gray[..., None], 3, axis=2))


def test_exif_orientation_is_not_applied(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees
    Image.fromarray(noise()).save(tmp_path / "a.jpg", exif=exif)
    assert read_image(tmp_path / "a.jpg").shape == (HEIGHT, WIDTH, 3)
    assert image_size(tmp_path / "a.jpg") == (HEIGHT, WIDTH)


def test_digest_is_sha256_of_the_bytes(tmp_path):
    path = tmp_path / "a.png"
    Image.fromarray(noise()).save(path)
    expected = hashlib.sha256(path.read_bytes()).hexdigest()
    assert file_digest(path) == expected
    assert check_image(path) == (HEIGHT, WIDTH, expected)
    (tmp_path / "abc").write_bytes(b"abc")
    assert file_digest(tmp_path / "abc").startswith("ba7816bf8f01cfea")  # FIPS 180-2, appendix B.1


HEADER_FAULTS = {
    "missing": (lambda path: None, "missing"),
    "empty": (lambda path: path.write_bytes(b""), "zero bytes"),
    "text": (lambda path: path.write_text("not a photograph"), "not an image"),
    "postscript": (lambda path: path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"), "not an image"),
    "cmyk": (lambda path: Image.new("CMYK", (4, 4)).save(path, format="JPEG"), "CMYK"),
    "gray of 16 bits": (lambda path: path.write_bytes(png(2, 2, 16, 0, b"\0\1\2\3\4")), "16 or more bits"),
    "rgb of 16 bits": (lambda path: path.write_bytes(png(1, 2, 16, 2, b"\0\1\2\3\4\5\6")), "16 or more bits"),
    "gray of 32 bits": (lambda path: Image.new("F", (4, 4)).save(path, format="TIFF"), "16 or more bits"),
    "with alpha": (lambda path: Image.new("RGBA", (4, 4)).save(path, format="PNG"), "mode RGBA"),
    "bomb": (lambda path: path.write_bytes(png(10_001, 10_000)), "larger than 100 megapixels"),
    "large bomb": (lambda path: path.write_bytes(png(30_000, 30_000)), "larger than 100 megapixels"),
}


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("reader", [read_image, image_size, check_image, read_saliency])
@pytest.mark.parametrize("name", HEADER_FAULTS)
def test_image_refused_by_its_header(tmp_path, name, reader):
    write, fragment = HEADER_FAULTS[name]
    path = tmp_path / "x.jpg"
    write(path)
    message = one_line(lambda: reader(path), path, fragment)
    assert ";" in message  # what to do follows


@pytest.mark.parametrize("suffix", ["jpg", "png", "bmp"])
@pytest.mark.parametrize("reader", [read_image, check_image])
def test_truncated_image_is_refused(tmp_path, suffix, reader):
    path = tmp_path / f"x.{suffix}"
    Image.fromarray(noise(64, 64)).save(path)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    one_line(lambda: reader(path), path, "truncated or corrupt")
    assert image_size(path) == (64, 64)


def test_folder_is_no_image(tmp_path):
    for reader in (read_image, image_size, file_digest):
        one_line(lambda reader=reader: reader(tmp_path), tmp_path, "cannot be read")


# --- label maps and saliency ------------------------------------------------------------------------------------------


def save_palette(path, label):
    image = Image.fromarray(label)
    image.putpalette(np.random.RandomState(1).randint(0, 256, 768).astype(np.uint8).tobytes())  # turns it into mode P
    image.save(path)


@pytest.mark.parametrize("save", [save_palette, lambda path, label: Image.fromarray(label).save(path)])
def test_label_png_maps_ids(tmp_path, save):
    label = np.array([[0, 12, 255], [8, 8, 0]], dtype=np.uint8)
    save(tmp_path / "a.png", label)
    found = read_label_png(tmp_path / "a.png", mask_ids(["cat", "dog"]), 2)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, [[0, 2, 255], [1, 1, 0]])
    np.testing.assert_array_equal(read_label_png(tmp_path / "a.png", None, 20), label)


def test_label_png_of_few_bits_in_a_palette(tmp_path):
    image = Image.fromarray(np.array([[0, 1], [2, 3]], dtype=np.uint8))
    image.putpalette(bytes(range(12)))
    image.save(tmp_path / "a.png", bits=2)
    np.testing.assert_array_equal(read_label_png(tmp_path / "a.png", None, 3), [[0, 1], [2, 3]])


def test_label_png_refusals(tmp_path):
    path = tmp_path / "a.png"
    Image.fromarray(np.array([[0, 3, 21, 254]], dtype=np.uint8)).save(path)
    one_line(lambda: read_label_png(path, None, 20), path, "label id 21, 254 is none of the 20 classes")
    one_line(lambda: read_label_png(path, {3: 1}, 1), path, "label id 21, 254")
    Image.fromarray(noise()).save(path)
    one_line(lambda: read_label_png(path, None, 20), path, "RGB", "palette or gray")
    path.write_bytes(png(2, 1, 4, 0, b"\0\x12"))  # ids 1 and 2, which Pillow would read as 17 and 34
    one_line(lambda: read_label_png(path, None, 20), path, "L;4")
    path.write_bytes(png(1, 1, 16, 0, b"\0\0\1"))
    one_line(lambda: read_label_png(path, None, 20), path, "8-bit palette or gray")
    Image.new("L", (4, 4)).save(path, format="JPEG")
    one_line(lambda: read_label_png(path, None, 20), path, "JPEG", "PNG")
    one_line(lambda: read_label_png(tmp_path / "no.png", None, 20), "no.png", "missing")
    save_palette(path, noise(64, 64, 1))
    path.write_bytes(path.read_bytes()[:-2000])
    one_line(lambda: read_label_png(path, None, 20), path, "truncated")


def test_saliency_is_gray_or_the_rounded_mean(tmp_path):
    gray = noise(channels=1)
    Image.fromarray(gray).save(tmp_path / "gray.png")
    found = read_saliency(tmp_path / "gray.png")
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, gray)
    Image.fromarray(np.array([[[0, 0, 2], [255, 255, 255], [10, 20, 60]]], dtype=np.uint8)).save(tmp_path / "rgb.png")
    np.testing.assert_array_equal(read_saliency(tmp_path / "rgb.png"), [[1, 255, 30]])


# --- faults and ids -------------------------------------------------------------------------------------------------


def test_faults_are_counted_and_capped():
    faults = Faults()
    faults.raise_if_any("here")
    faults.add("one")
    faults.add("one")
    with pytest.raises(UserError, match=r"^here: 1 fault\none$"):
        faults.raise_if_any("here")
    for number in range(2, 54):
        faults.add(str(number))
    with pytest.raises(UserError) as caught:
        faults.raise_if_any("here")
    lines = str(caught.value).split("\n")
    assert lines[0] == "here: 53 faults" and lines[50] == "50" and lines[51:] == ["... and 3 more"]


@pytest.mark.parametrize(
    "identifier", ["", "a/b", "a\\b", "a\0b", ".a", "..", "a..b", " a", "a\t", "a\nb", "\x7fa", "x" * 201]
)
def test_bad_ids(identifier):
    one_line(lambda: check_id(identifier), "image id", "expected")


@pytest.mark.parametrize("identifier", ["2007_000032", "COCO_train2014_000000000009", "a b.c", "köln", "x" * 200])
def test_good_ids(identifier):
    check_id(identifier)


def test_nearest_ignores_case():
    assert nearest("DOGE", ["cat", "dog", "person"]) == "dog"
    assert nearest("Person", ["cat", "dog", "person"]) == "person"


# --- PASCAL VOC -----------------------------------------------------------------------------------------------------

DOG = ("dog", (3, 4, 20, 18))


def annotation(objects, root="annotation"):
    parts = "".join(
        f"<object><name>{name}</name><difficult>1</difficult><part><name>head</name><bndbox><xmin>1</xmin></bndbox></part>"
        f"<bndbox><xmax>{box[2]}</xmax><xmin>{box[0]}</xmin><ymax>{box[3]}</ymax><ymin>{box[1]}</ymin></bndbox></object>"
        for name, box in objects
    )
    return f"<{root}><filename>x</filename>{parts}</{root}>"


@pytest.fixture
def voc(tmp_path):
    """A tree of four good images, a to d, with the split train = a, b, c and val = d."""
    root = tmp_path / "VOC2012"
    for folder in ("JPEGImages", "Annotations", "ImageSets"):
        (root / folder).mkdir(parents=True)
    for number, identifier in enumerate("abcd"):
        Image.fromarray(noise(seed=number)).save(root / "JPEGImages" / f"{identifier}.jpg")
        (root / "Annotations" / f"{identifier}.xml").write_text(annotation([DOG]))
    (root / "ImageSets/train.txt").write_text("a\nb\nc\n")
    (root / "ImageSets/val.txt").write_text("d")
    return root


LISTS = {"train": "ImageSets/train.txt", "val": "ImageSets/val.txt"}
CLASSES = ("cat", "dog", "horse")


def voc_faults(root, *fragments, classes=CLASSES, lists=LISTS):
    """Reading the tree ends in exactly one fault, in one line below the header, which holds all fragments."""
    with pytest.raises(UserError) as caught:
        read_voc(root, classes, lists)
    header, *lines = str(caught.value).split("\n")
    assert header == f"{root}: 1 fault"
    assert len(lines) == 1
    for fragment in fragments:
        assert str(fragment) in lines[0]


def test_voc_entries(voc):
    objects = [("horse", (1, 1, WIDTH, HEIGHT)), ("cat", (1.5, 2, 9, 8)), DOG, DOG]
    (voc / "Annotations/b.xml").write_text(annotation(objects))
    (voc / "ImageSets/val.txt").write_text("\ufeffd\r\n\r\nb\r\n", encoding="utf-8")
    steps = []
    splits, entries = read_voc(voc, CLASSES, LISTS, progress=lambda done, total: steps.append((done, total)))
    assert splits == {"train": ["a", "b", "c"], "val": ["d", "b"]}
    assert [entry.id for entry in entries] == ["a", "b", "c", "d"]
    assert steps == [(1, 4), (2, 4), (3, 4), (4, 4)]
    entry = entries[1]
    assert entry.image == str(voc / "JPEGImages/b.jpg")
    assert (entry.height, entry.width) == (HEIGHT, WIDTH)
    assert entry.digest == file_digest(entry.image)
    assert entry.labels == (0, 1, 2)
    assert entry.boxes.dtype == np.float32
    np.testing.assert_array_equal(
        entry.boxes, [[1, 1, WIDTH, HEIGHT, 2], [1.5, 2, 9, 8, 0], [3, 4, 20, 18, 1], [3, 4, 20, 18, 1]]
    )


def test_voc_limit_is_for_each_list(voc):
    splits, entries = read_voc(voc, CLASSES, LISTS, limit=2)
    assert splits == {"train": ["a", "b"], "val": ["d"]}
    assert [entry.id for entry in entries] == ["a", "b", "d"]


def test_voc_lists_of_paths(voc):
    (voc / "ImageSets/train.txt").write_text(
        "/JPEGImages/b.jpg /SegmentationClassAug/b.png\n/JPEGImages/a.jpg\n\n/JPEGImages/c.jpg\t/S/c.png "
    )
    assert read_voc(voc, CLASSES, LISTS)[0]["train"] == ["b", "a", "c"]


def test_voc_unlabelled_split_needs_no_annotation(voc):
    (voc / "Annotations/d.xml").unlink()
    _, entries = read_voc(voc, CLASSES, LISTS, unlabelled=["val"])
    assert entries[3].labels == () and entries[3].boxes.shape == (0, 5)
    assert entries[0].labels == (1,)


def test_voc_gray_image_is_accepted(voc):
    Image.fromarray(noise(channels=1)).save(voc / "JPEGImages/a.jpg")
    assert len(read_voc(voc, CLASSES, LISTS)[1]) == 4


def test_voc_box_may_be_one_pixel_outside(voc):
    (voc / "Annotations/a.xml").write_text(annotation([("dog", (-1, 0, WIDTH + 1, HEIGHT + 1))]))
    assert read_voc(voc, CLASSES, LISTS)[1][0].boxes[0].tolist() == [-1, 0, WIDTH + 1, HEIGHT + 1, 1]


def test_voc_root_missing(tmp_path):
    one_line(lambda: read_voc(tmp_path / "no", CLASSES, LISTS), tmp_path / "no", "missing", "VOCdevkit/VOC2012")


def test_voc_folder_missing(voc):
    one_line(lambda: read_voc(voc, CLASSES, LISTS, annotations="Labels"), voc / "Labels", "missing", "VOCdevkit")


def test_voc_list_missing(voc):
    voc_faults(voc, voc / "ImageSets/no.txt", "'test'", "missing", lists={**LISTS, "test": "ImageSets/no.txt"})


def test_voc_list_not_utf8(voc):
    (voc / "ImageSets/val.txt").write_bytes("köln".encode("latin-1"))
    voc_faults(voc, voc / "ImageSets/val.txt", "UTF-8")


def test_voc_split_empty(voc):
    (voc / "ImageSets/val.txt").write_text("\n  \n")
    voc_faults(voc, voc / "ImageSets/val.txt", "split 'val' is empty")


def test_voc_duplicate_id(voc):
    (voc / "ImageSets/train.txt").write_text("a\n\nb\na\n")
    voc_faults(voc, "train.txt, line 4: id 'a' is in line 1 too")


@pytest.mark.parametrize("identifier", ["x/a", "../a", "..", "../JPEGImages/a.jpg", ".a"])
def test_voc_id_that_leaves_the_folder(voc, identifier):
    (voc / "ImageSets/val.txt").write_text(f"d\n{identifier}\n")
    voc_faults(voc, "val.txt, line 2", repr(identifier))


def test_voc_image_missing(voc):
    (voc / "JPEGImages/b.jpg").unlink()
    voc_faults(voc, voc / "JPEGImages/b.jpg", "missing")


def test_voc_image_truncated(voc):
    path = voc / "JPEGImages/b.jpg"
    path.write_bytes(path.read_bytes()[:-300])
    voc_faults(voc, path, "truncated")


def test_voc_image_empty(voc):
    (voc / "JPEGImages/b.jpg").write_bytes(b"")
    voc_faults(voc, voc / "JPEGImages/b.jpg", "zero bytes")


def test_voc_image_cmyk(voc):
    Image.new("CMYK", (WIDTH, HEIGHT)).save(voc / "JPEGImages/b.jpg")
    voc_faults(voc, voc / "JPEGImages/b.jpg", "CMYK", "convert")


def test_voc_image_of_16_bits(voc):
    (voc / "JPEGImages/b.jpg").write_bytes(png(WIDTH, HEIGHT, 16, 0, bytes(1 + 2 * WIDTH)))
    voc_faults(voc, voc / "JPEGImages/b.jpg", "16 or more bits", "convert")


def test_voc_label_unknown(voc):
    (voc / "Annotations/b.xml").write_text(annotation([DOG, ("hose", (1, 1, 5, 5))]))
    voc_faults(voc, voc / "Annotations/b.xml", "label 'hose' is unknown", "'horse'")


def test_voc_label_of_a_class_that_is_not_configured(voc):
    (voc / "Annotations/b.xml").write_text(annotation([("person", (1, 1, 5, 5))]))
    voc_faults(voc, voc / "Annotations/b.xml", "label 'person' is unknown", "classes of the data set")


def test_voc_image_without_label(voc):
    (voc / "Annotations/b.xml").write_text(annotation([]))
    voc_faults(voc, voc / "Annotations/b.xml", "no label")


def test_voc_annotation_missing(voc):
    (voc / "Annotations/b.xml").unlink()
    voc_faults(voc, voc / "Annotations/b.xml", "annotation is missing")


@pytest.mark.parametrize("text", ["", "<annotation><object>", "<?xml version='1.0' encoding='utf-99'?><annotation/>"])
def test_voc_annotation_broken(voc, text):
    (voc / "Annotations/b.xml").write_text(text)
    voc_faults(voc, voc / "Annotations/b.xml", "broken XML")


def test_voc_annotation_with_entity_bomb(voc):
    entities = '<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;">'
    (voc / "Annotations/b.xml").write_text(
        f"<!DOCTYPE annotation [{entities}]>" + annotation([DOG]).replace("dog", "&b;")
    )
    voc_faults(voc, voc / "Annotations/b.xml", "entities", "DTD")


def test_voc_annotation_with_external_entity(voc):
    (voc / "Annotations/b.xml").write_text(
        '<!DOCTYPE annotation [<!ENTITY a SYSTEM "a.xml">]>' + annotation([DOG]).replace("dog", "&a;")
    )
    voc_faults(voc, voc / "Annotations/b.xml", "entities")


def test_voc_annotation_with_wrong_root(voc):
    (voc / "Annotations/b.xml").write_text(annotation([DOG], root="annotations"))
    voc_faults(voc, voc / "Annotations/b.xml", "<annotations>", "expected <annotation>")


@pytest.mark.parametrize("box", [(5, 5, 5, 9), (5, 5, 9, 5), (9, 5, 5, 9)])
def test_voc_box_without_area(voc, box):
    (voc / "Annotations/b.xml").write_text(annotation([("dog", box)]))
    voc_faults(voc, voc / "Annotations/b.xml", " ".join(map(str, box)), "no area")


@pytest.mark.parametrize("box", [(-1.5, 1, 9, 9), (1, -2, 9, 9), (1, 1, WIDTH + 2, 9), (1, 1, 9, HEIGHT + 1.5)])
def test_voc_box_outside(voc, box):
    (voc / "Annotations/b.xml").write_text(annotation([("dog", box)]))
    voc_faults(voc, voc / "Annotations/b.xml", "outside the image of 30 x 20 pixels")


@pytest.mark.parametrize("value", ["one", "", "nan", "inf", "1,5"])
def test_voc_box_not_numeric(voc, value):
    (voc / "Annotations/b.xml").write_text(annotation([("dog", (value, 1, 9, 9))]))
    voc_faults(voc, voc / "Annotations/b.xml", "not four numbers")


def test_voc_box_missing(voc):
    (voc / "Annotations/b.xml").write_text("<annotation><object><name>dog</name></object></annotation>")
    voc_faults(voc, voc / "Annotations/b.xml", "(missing)", "not four numbers")


def test_voc_reports_all_faults_in_the_order_of_the_lists(voc):
    (voc / "ImageSets/train.txt").write_text("a\nb\nc\nc\n")
    (voc / "JPEGImages/d.jpg").write_bytes(b"")
    (voc / "Annotations/b.xml").unlink()
    (voc / "JPEGImages/b.jpg").unlink()
    (voc / "Annotations/a.xml").write_text(annotation([("dgo", (5, 5, 9, 9)), ("dog", (5, 5, 1, 1))]))
    with pytest.raises(UserError) as caught:
        read_voc(voc, CLASSES, LISTS)
    header, *lines = str(caught.value).split("\n")
    assert header == f"{voc}: 6 faults"
    fragments = ["line 4", "'dgo'", "no area", "b.xml: the annotation is missing", "b.jpg", "d.jpg"]
    assert all(fragment in line for fragment, line in zip(fragments, lines, strict=True))


def test_mask_ids():
    assert len(VOC_CLASSES) == 20 and list(VOC_CLASSES) == sorted(VOC_CLASSES)
    assert mask_ids(VOC_CLASSES) == {number: number for number in range(1, 21)}
    assert mask_ids(["cat", "cow", "dog", "horse", "person", "sheep"]) == {8: 1, 10: 2, 12: 3, 13: 4, 15: 5, 17: 6}
    assert mask_ids(["cat", "unicorn"]) == {1: 1, 2: 2}


# --- CSV ------------------------------------------------------------------------------------------------------------

HEADER = "id,image,labels,mask,boxes,split"
ROWS = (
    "a,photos/a.png,dog,masks/a.png,1 2 9 8 dog,train",
    'b,photos/b.png," dog; cat ",,"1 2 9 8 dog; 0 0 30 20 cat;",train',
    "c,photos/c.png,cat,,,val",
)
SPLITS = {"train": "train", "val": "val"}


@pytest.fixture
def table(tmp_path):
    for folder in ("photos", "masks"):
        (tmp_path / folder).mkdir()
    for number, identifier in enumerate("abc"):
        Image.fromarray(noise(seed=number)).save(tmp_path / "photos" / f"{identifier}.png")
    Image.fromarray(noise(channels=1)).save(tmp_path / "masks/a.png")
    return write(tmp_path / "table.csv", HEADER, *ROWS)


def write(path, *lines):
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def csv_fault(table, *fragments, classes=CLASSES, splits=SPLITS):
    """Reading the table ends in exactly one fault, in one line below the header, which holds all fragments."""
    with pytest.raises(UserError) as caught:
        read_csv(table, classes, splits)
    header, *lines = str(caught.value).split("\n")
    assert header == f"{table}: 1 fault"
    assert len(lines) == 1
    for fragment in fragments:
        assert str(fragment) in lines[0]


def test_csv_entries(table):
    steps = []
    splits, entries, masks = read_csv(
        table, CLASSES, {"val": "val", "all": "", "train": "train"}, progress=lambda *step: steps.append(step)
    )
    assert splits == {"val": ["c"], "all": ["a", "b", "c"], "train": ["a", "b"]}
    assert [entry.id for entry in entries] == ["c", "a", "b"]
    assert steps == [(1, 3), (2, 3), (3, 3)]
    assert masks == {"a": table.parent / "masks/a.png"}
    entry = entries[2]
    assert entry.image == str(table.parent / "photos/b.png")
    assert (entry.height, entry.width, entry.digest) == (HEIGHT, WIDTH, file_digest(entry.image))
    assert entry.labels == (0, 1)
    assert entry.boxes.dtype == np.float32
    np.testing.assert_array_equal(entry.boxes, [[1, 2, 9, 8, 1], [0, 0, 30, 20, 0]])
    assert entries[0].boxes.shape == (0, 5)


def test_csv_with_required_columns_only(table):
    table.write_bytes(b"\xef\xbb\xbfimage , id,labels\r\nphotos/a.png, x ,cat\r\n\r\nphotos/b.png,y,dog\r\n")
    splits, entries, masks = read_csv(table, CLASSES, {"train": "", "val": ""}, limit=1)
    assert splits == {"train": ["x"], "val": ["x"]} and masks == {}
    assert [entry.labels for entry in entries] == [(0,)]


def test_csv_class_names_with_spaces(table):
    write(table, "id,image,labels,boxes", "a,photos/a.png,traffic light;cat,1 2 3 4 traffic light")
    _, entries, _ = read_csv(table, ["cat", "traffic light"], {"train": ""})
    assert entries[0].labels == (0, 1) and entries[0].boxes.tolist() == [[1, 2, 3, 4, 1]]


def test_csv_unlabelled_split(table):
    write(table, HEADER, *ROWS[:2], "c,photos/c.png,,,,val")
    _, entries, _ = read_csv(table, CLASSES, SPLITS, unlabelled=["val"])
    assert entries[2].labels == ()


def test_csv_table_missing(tmp_path):
    one_line(lambda: read_csv(tmp_path / "no.csv", CLASSES, SPLITS), "no.csv", "missing")


def test_csv_not_utf8(table):
    table.write_bytes("id,image,labels\nk\xf6ln,a.png,dog\n".encode("latin-1"))
    one_line(lambda: read_csv(table, CLASSES, SPLITS), table, "not UTF-8", "byte 17")


def test_csv_column_missing(table):
    write(table, "id,image,split", "a,photos/a.png,train")
    csv_fault(table, table, "column 'labels' is missing", HEADER.split(",")[0])


def test_csv_split_column_missing(table):
    write(table, "id,image,labels", "a,photos/a.png,dog")
    csv_fault(table, "column 'split' is missing")


def test_csv_column_unknown(table):
    write(table, HEADER.replace("boxes", "box"), *ROWS)
    csv_fault(table, "unknown column 'box'", "'boxes'")


def test_csv_column_twice(table):
    write(table, "id,image,labels,split,id", "a,photos/a.png,dog,train,b")
    csv_fault(table, "column 'id' occurs 2 times")


def test_csv_without_rows(table):
    write(table, HEADER)
    csv_fault(table, "no rows")


def test_csv_split_empty(table):
    csv_fault(table, "split 'test' is empty", splits={**SPLITS, "test": "held out"})


def test_csv_split_mistyped(table):
    write(table, HEADER, *ROWS, "d,photos/a.png,dog,,,trian")
    csv_fault(table, "line 5: split 'trian' is none of 'train', 'val'")


def test_csv_duplicate_id(table):
    write(table, HEADER, *ROWS, "a,photos/c.png,dog,,,val")
    csv_fault(table, "line 5: id 'a' is in line 2 too")


@pytest.mark.parametrize("identifier", ["x/a", "..", "../a", ""])
def test_csv_bad_id(table, identifier):
    write(table, HEADER, *ROWS, f"{identifier},photos/a.png,dog,,,val")
    csv_fault(table, "line 5: ", "image id")


def test_csv_row_of_other_length(table):
    write(table, HEADER, *ROWS, "d,photos/a.png,dog")
    csv_fault(table, "line 5: 3 cells, expected 6")


def test_csv_open_quote(table):
    write(table, HEADER, *ROWS, '"d,photos/a.png,dog,,,train')
    csv_fault(table, "not comma-separated values")


def test_csv_image_faults(table):
    Image.new("CMYK", (4, 4)).save(table.parent / "photos/a.jpg")
    write(table, HEADER, *ROWS, "d,photos/no.png,dog,,,val", "e,,dog,,,val", "f,photos/a.jpg,dog,,,val")
    with pytest.raises(UserError) as caught:
        read_csv(table, CLASSES, SPLITS)
    _, missing, empty, cmyk = str(caught.value).split("\n")
    assert str(table.parent / "photos/no.png") in missing and "missing" in missing
    assert "id 'e'" in empty and "'image' is empty" in empty
    assert "a.jpg" in cmyk and "CMYK" in cmyk


def test_csv_mask_missing(table):
    write(table, HEADER, ROWS[0].replace("masks/a", "masks/no"), *ROWS[1:])
    csv_fault(table, "id 'a'", table.parent / "masks/no.png", "missing")


@pytest.mark.parametrize("labels", ["", " ; "])
def test_csv_image_without_label(table, labels):
    write(table, HEADER, *ROWS, f"d,photos/a.png,{labels},,,val")
    csv_fault(table, "id 'd'", "no label")


def test_csv_label_unknown(table):
    write(table, HEADER, *ROWS, "d,photos/a.png,dog;hrose,,,val")
    csv_fault(table, "id 'd'", "label 'hrose' is unknown", "'horse'")


@pytest.mark.parametrize(
    ("box", "fragment"),
    [
        ("1 2 9 dog", "is not 'x0 y0 x1 y1 class'"),
        ("1 2 x 9 dog", "not four numbers"),
        ("1 2 nan 9 dog", "not four numbers"),
        ("5 2 5 9 dog", "no area"),
        ("1 2 9 99 dog", "outside the image of 30 x 20 pixels"),
        ("1 2 9 9 dgo", "nearest known class is 'dog'"),
        ("1 2 9 9 cat", "not among the labels"),
    ],
)
def test_csv_bad_box(table, box, fragment):
    write(table, HEADER, *ROWS, f"d,photos/a.png,dog,,{box},val")
    csv_fault(table, "id 'd'", fragment)
