"""The reader of PASCAL VOC trees: what it returns, and the one line of each fault."""

import numpy as np
import pytest
from conftest import refused
from PIL import Image
from small_images import CLASSES, HEIGHT, WIDTH, noise, one_fault, png

from workflow_scripts.base.digests import file_sha256
from workflow_scripts.base.errors import UserError
from workflow_scripts.data.index_entries import Faults
from workflow_scripts.data.kinds.voc import read_voc
from workflow_scripts.data.readers.class_masks import given_ids
from workflow_scripts.data.readers.voc_masks import VOC_CLASSES, mask_ids

DOG = ("dog", (3, 4, 20, 18))
LISTS = {"train": "ImageSets/train.txt", "val": "ImageSets/val.txt"}


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


def voc_faults(root, *fragments, classes=CLASSES, lists=LISTS):
    one_fault(lambda: read_voc(root, classes, lists), root, *fragments)


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
    assert entry.digest == file_sha256(entry.image)
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


@pytest.mark.parametrize(
    ("line", "told"), [("d.jpg", "ending"), ("d.xml", "ending"), ("d  1", "one class"), ("d -1", "one class")]
)
def test_voc_lists_of_something_else(voc, line, told):
    (voc / "ImageSets/val.txt").write_text(f"{line}\n")
    voc_faults(voc, voc / "ImageSets/val.txt", repr(line), told, "write the id alone: d")


def test_voc_id_with_an_ending(voc):
    for folder, old, new in (("JPEGImages", "d.jpg", "d.jpg.jpg"), ("Annotations", "d.xml", "d.jpg.xml")):
        (voc / folder / new).write_bytes((voc / folder / old).read_bytes())
    (voc / "ImageSets/val.txt").write_text("d.jpg\n")
    assert read_voc(voc, CLASSES, LISTS)[0]["val"] == ["d.jpg"]


def test_voc_gray_image_is_accepted(voc):
    Image.fromarray(noise(channels=1)).save(voc / "JPEGImages/a.jpg")
    assert len(read_voc(voc, CLASSES, LISTS)[1]) == 4


def test_voc_box_may_be_one_pixel_outside(voc):
    (voc / "Annotations/a.xml").write_text(annotation([("dog", (-1, 0, WIDTH + 1, HEIGHT + 1))]))
    assert read_voc(voc, CLASSES, LISTS)[1][0].boxes[0].tolist() == [-1, 0, WIDTH + 1, HEIGHT + 1, 1]


def test_voc_root_missing(tmp_path):
    refused(lambda: read_voc(tmp_path / "no", CLASSES, LISTS), tmp_path / "no", "missing", "VOCdevkit/VOC2012")


def test_voc_folder_missing(voc):
    refused(lambda: read_voc(voc, CLASSES, LISTS, annotations="Labels"), voc / "Labels", "missing", "VOCdevkit")


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


def test_voc_image_without_an_object(voc):
    (voc / "Annotations/b.xml").write_text(annotation([]))
    faults = Faults()
    entry = read_voc(voc, CLASSES, LISTS, faults=faults)[1][1]
    assert (entry.id, entry.labels, entry.boxes.shape) == ("b", (), (0, 5))
    assert [finding.identifier for finding in faults.findings if finding.check == "no_object"] == ["b"]


def size(width, height):
    return f"<size><width>{width}</width><height>{height}</height><depth>3</depth></size>"


def stated(voc, text, **options):
    path = voc / "Annotations/b.xml"
    path.write_text(annotation([DOG]).replace("<object>", f"{text}<object>", 1))
    faults = Faults()
    entry = read_voc(voc, CLASSES, LISTS, faults=faults, **options)[1][1]
    return entry.height, entry.width, "b" in [f.identifier for f in faults.findings if f.check == "size_missing"]


@pytest.mark.parametrize("text", ["", size(0, 0), size(0, HEIGHT), size(WIDTH, 0), "<size/>", size("", "")])
def test_voc_size_that_is_not_stated(voc, text):
    assert stated(voc, text) == (HEIGHT, WIDTH, True)


def test_voc_size_that_is_stated(voc):
    assert stated(voc, size(WIDTH, HEIGHT)) == (HEIGHT, WIDTH, False)
    for wrong in ((2 * WIDTH, 2 * HEIGHT), (HEIGHT, WIDTH), (WIDTH, HEIGHT + 1)):
        told = one_fault(
            lambda wrong=wrong: stated(voc, size(*wrong)), voc, "b.xml: states an image of", "b.jpg has 30 x 20"
        )
        assert f"{wrong[0]} x {wrong[1]}" in told and "orientation" not in told
    assert stated(voc, size(f"{WIDTH}.0", f" {HEIGHT} ")) == (HEIGHT, WIDTH, False)
    for text in ("30.5", "wide", "nan", "inf"):
        one_fault(lambda text=text: stated(voc, size(text, "20")), voc, "no whole number")


@pytest.mark.parametrize("flag", range(1, 9))
def test_voc_size_of_a_photograph_with_an_orientation(voc, flag):
    exif = Image.Exif()
    exif[0x0112] = flag
    Image.fromarray(noise()).save(voc / "JPEGImages/b.jpg", exif=exif)
    shown = (HEIGHT, WIDTH) if flag < 5 else (WIDTH, HEIGHT)
    assert stated(voc, size(*shown[::-1]))[:2] == shown
    assert stated(voc, size(WIDTH, HEIGHT), oriented=False)[:2] == (HEIGHT, WIDTH)
    if flag >= 5:
        one_fault(lambda: stated(voc, size(WIDTH, HEIGHT)), voc, "EXIF", "`orientation: stored`")
        one_fault(lambda: stated(voc, size(HEIGHT, WIDTH), oriented=False), voc, "EXIF", "`orientation: shown`")


@pytest.mark.parametrize("ending", ["png", "PNG", "jpeg", "JPG", "bmp", "tif", "webp", "gif"])
def test_voc_pictures_of_other_endings(voc, ending):
    (voc / "JPEGImages/b.jpg").unlink()
    path = voc / f"JPEGImages/b.{ending}"
    Image.fromarray(noise(seed=1)).save(path)
    assert read_voc(voc, CLASSES, LISTS)[1][1].image == str(path)
    Image.fromarray(noise(seed=1)).save(voc / "JPEGImages/b.ppm")
    voc_faults(voc, "b.", "of the same id; keep one of them")


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
def test_voc_box_a_little_outside_is_cut_off(voc, box):
    (voc / "Annotations/b.xml").write_text(annotation([("dog", box)]))
    faults = Faults()
    expected = [max(box[0], 0), max(box[1], 0), min(box[2], WIDTH), min(box[3], HEIGHT), 1]
    assert read_voc(voc, CLASSES, LISTS, faults=faults)[1][1].boxes.tolist() == [expected]
    assert "b" in [finding.identifier for finding in faults.findings if finding.check == "box_clipped"]


@pytest.mark.parametrize(
    "box", [(-6, 1, 9, 9), (1, -6, 9, 9), (1, 1, WIDTH + 6, 9), (1, 1, 9, HEIGHT + 6), (-4, 1, 3, 9)]
)
def test_voc_box_far_outside(voc, box):
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
    assert given_ids(["cat", "dog"], {"dog": 1, "cat": 255}) == {255: 1, 1: 2} and given_ids(["cat"], None) is None
