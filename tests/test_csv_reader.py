"""The reader of CSV tables: what it returns, and the one line of each fault."""

import csv
import io
from pathlib import Path

import numpy as np
import pytest
from conftest import refused
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from small_images import CLASSES, HEIGHT, WIDTH, noise, one_fault

from workflow_scripts.base.digests import file_sha256
from workflow_scripts.base.errors import UserError
from workflow_scripts.data.index_entries import Faults
from workflow_scripts.data.kinds.csv import Csv, read_csv, read_mask_paths

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
    one_fault(lambda: read_csv(table, classes, splits), table, *fragments)


def test_csv_entries(table):
    steps = []
    splits, entries = read_csv(
        table, CLASSES, {"val": "val", "all": "", "train": "train"}, progress=lambda *step: steps.append(step)
    )
    assert splits == {"val": ["c"], "all": ["a", "b", "c"], "train": ["a", "b"]}
    assert [entry.id for entry in entries] == ["c", "a", "b"]
    assert steps == [(1, 3), (2, 3), (3, 3)]
    assert read_mask_paths(table) == {"a": table.parent / "masks/a.png"}
    entry = entries[2]
    assert entry.image == str(table.parent / "photos/b.png")
    assert (entry.height, entry.width, entry.digest) == (HEIGHT, WIDTH, file_sha256(entry.image))
    assert entry.labels == (0, 1)
    assert entry.boxes.dtype == np.float32
    np.testing.assert_array_equal(entry.boxes, [[1, 2, 9, 8, 1], [0, 0, 30, 20, 0]])
    assert entries[0].boxes.shape == (0, 5)


def test_csv_with_required_columns_only(table):
    table.write_bytes(b"\xef\xbb\xbfimage , id,labels\r\nphotos/a.png, x ,cat\r\n\r\nphotos/b.png,y,dog\r\n")
    splits, entries = read_csv(table, CLASSES, {"train": "", "val": ""}, limit=1)
    assert splits == {"train": ["x"], "val": ["x"]} and read_mask_paths(table) == {}
    assert [entry.labels for entry in entries] == [(0,)]


def test_csv_class_names_with_spaces(table):
    write(table, "id,image,labels,boxes", "a,photos/a.png,traffic light;cat,1 2 3 4 traffic light")
    _, entries = read_csv(table, ["cat", "traffic light"], {"train": ""})
    assert entries[0].labels == (0, 1) and entries[0].boxes.tolist() == [[1, 2, 3, 4, 1]]


def test_csv_table_missing(tmp_path):
    refused(lambda: read_csv(tmp_path / "no.csv", CLASSES, SPLITS), "no.csv", "missing")


def test_csv_not_utf8(table):
    table.write_bytes("id,image,labels\nk\xf6ln,a.png,dog\n".encode("latin-1"))
    refused(lambda: read_csv(table, CLASSES, SPLITS), table, "line 2: not UTF-8", "byte 17")


def test_csv_with_nul(table):
    write(table, "id,image,labels", "a,photos/a\0.png,cat")
    refused(lambda: read_csv(table, CLASSES, {"train": ""}), table, "a NUL character, number 26")


def test_csv_column_missing(table):
    write(table, "id,image,split", "a,photos/a.png,train")
    csv_fault(table, table, "column 'labels' is missing", HEADER.split(",")[0])


def test_csv_split_column_missing(table):
    write(table, "id,image,labels", "a,photos/a.png,dog")
    csv_fault(table, "column 'split' is missing")


@pytest.mark.parametrize(
    ("name", "meant"), [("lables", "labels"), ("label", "labels"), ("images", "image"), ("ids", "id")]
)
def test_csv_required_columns_that_are_misspelt(table, name, meant):
    """One line, though the column is missing, too."""
    columns = ["id", "image", "labels"]
    columns[columns.index(meant)] = name
    write(table, ",".join(columns), "a,photos/a.png,dog")
    one_fault(lambda: read_csv(table, CLASSES, {"all": ""}), table, f"unknown column {name!r}", repr(meant), "rename")


def test_csv_header_of_other_words_is_shown(table):
    write(table, "id,photograph,labels", "a,photos/a.png,dog")
    one_fault(lambda: read_csv(table, CLASSES, {"all": ""}), table, "'image' is missing", "'id,photograph,labels'")


@pytest.mark.parametrize("above", ["\n", "\n \n", ",,,\n", ";;\r\n\r\n"])
def test_csv_empty_lines_above_the_header(table, above):
    """They are counted, so that a fault names the line that an editor shows."""
    table.write_text(f"{above}id,image,labels\na,photos/a.png,dog\n", newline="")
    assert len(read_csv(table, CLASSES, {"all": ""})[1]) == 1
    table.write_text(f"{above}id,image,labels\na,photos/a.png\n", newline="")
    one_fault(lambda: read_csv(table, CLASSES, {"all": ""}), table, f"line {above.count(chr(10)) + 2}: 2 cells")


def test_csv_space_before_a_quote(table):
    write(table, 'id, "image", "labels"', 'a, "photos/a.png", "dog;cat"')
    assert read_csv(table, CLASSES, {"all": ""})[1][0].labels == (0, 1)


def test_csv_without_a_header(table):
    write(table, "a,photos/a.png,dog")
    one_fault(
        lambda: read_csv(table, CLASSES, {"all": ""}),
        table,
        "'id', 'image', 'labels' are missing",
        "'a,photos/a.png,dog'",
    )


@pytest.mark.parametrize("box", ["0 0.5 0.5 0.2 0.2", "0.1 0.1 0.5 0.5", "0.1 0.1 0.5 0.5 1", "dog 0.5 0.5 0.25 0.25"])
def test_csv_boxes_of_yolo_as_its_files_have_them(table, box):
    write(table, "id,image,labels,boxes", f"a,photos/a.png,dog,{box}")
    one_fault(lambda: read_csv(table, CLASSES, {"all": ""}), table, "'a'", "normalised", "YOLO")


def test_csv_paths_of_windows(table):
    write(table, "id,image,labels,mask", r"a,photos\a.png,dog,masks\a.png")
    (entry,) = read_csv(table, CLASSES, {"all": ""})[1]
    assert Path(entry.image) == table.parent / "photos/a.png"
    assert read_mask_paths(table) == {"a": table.parent / "masks/a.png"}


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
    csv_fault(table, "line 5: 3 cells, expected 6; add those that lack")


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
    csv_fault(table, "id 'd'", "no label", "'-' if it shows none")


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


# --- tables as spreadsheets write them --------------------------------------------------------------------------------

CELLS = {"id": "abc", "image": ["photos/a.png", "photos/b.png", "photos/c.png"], "labels": ["dog", "cat;dog", "cat"]}
TABLE = {**CELLS, "boxes": ["1 2 9 8 dog", "1 2 9 8 dog;0 0 30 20 cat", ""], "split": ["train", "train", "val"]}


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    columns=st.permutations(list(TABLE)),
    separator=st.sampled_from(",;\t"),
    end=st.sampled_from(["\n", "\r\n"]),
    quoting=st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_MINIMAL]),
    case=st.sampled_from([str.lower, str.upper, str.title, lambda name: f" {name} "]),
    mark=st.booleans(),
    told=st.booleans(),
    empty=st.tuples(st.integers(0, 3), st.integers(0, 3), st.integers(0, 2)),
    notes=st.lists(st.sampled_from(["notes", "photographed_by", "weather, wind; sea", "Datum"]), unique=True),
)
def test_csv_dialects(table, columns, separator, end, quoting, case, mark, told, empty, notes):
    """One table in every dialect is read alike; columns and rows without content do not count, remarks are told."""
    in_header, in_rows, below = empty
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter=separator, lineterminator=end, quoting=quoting)
    writer.writerow([*(case(name) for name in columns), *notes, *[""] * in_header])
    for row in range(3):
        writer.writerow(
            [*(TABLE[name][row] for name in columns), *["a remark"] * len(notes), *[""] * (in_header + in_rows)]
        )
    text.write(f"{separator * 4}{end}" * below)
    head = f"sep={separator}{end}" if told else ""
    table.write_bytes((head + text.getvalue()).encode("utf-8-sig" if mark else "utf-8"))
    faults = Faults()
    splits, entries = read_csv(table, CLASSES, SPLITS, faults=faults)
    assert splits == {"train": ["a", "b"], "val": ["c"]}
    assert [entry.labels for entry in entries] == [(1,), (0, 1), (0,)]
    assert [len(entry.boxes) for entry in entries] == [1, 2, 0]
    assert {(f.check, f.identifier) for f in faults.findings} == {("ignored_column", name) for name in notes}
    assert [Path(path) for path in Csv.model_construct(table=str(table)).paths("images")] == [
        table,
        *(table.parent / name for name in TABLE["image"]),
    ]  # which planning watches


@pytest.mark.parametrize("name", ["boxs", "bbox", "Box", "boxes_px", "maks", "mask_path", "Masks", "splits", "spilt"])
def test_csv_columns_that_are_misspelt(table, name):
    meant = {"b": "boxes", "m": "mask", "s": "split"}[name[0].lower()]
    write(table, f"id,image,labels,{name}", "a,photos/a.png,dog,")
    one_fault(lambda: read_csv(table, CLASSES, {"all": ""}), table, f"unknown column {name!r}", repr(meant), "rename")
    if meant != "split":  # where the table has the column, another one like it holds remarks
        faults = Faults()
        write(table, f"id,image,labels,{meant},{name}", "a,photos/a.png,dog,,")
        read_csv(table, CLASSES, {"all": ""}, faults=faults)
        assert [(f.check, f.identifier) for f in faults.findings] == [("ignored_column", name)]


@pytest.mark.parametrize(
    "name", ["notes", "remarks", "date", "site", "camera", "comment", "Photographer", "plot", "lat"]
)
def test_csv_columns_of_remarks(table, name):
    write(table, f"id,image,labels,{name}", "a,photos/a.png,dog,x")
    assert len(read_csv(table, CLASSES, {"all": ""})[1]) == 1


def test_csv_content_without_a_column(table):
    write(table, "id,image,labels,,", "a,photos/a.png,dog,,seen twice")
    one_fault(lambda: read_csv(table, CLASSES, {"all": ""}), table, "line 2", "'seen twice'", "without a name")
    write(table, "id,image,labels", "a,photos/a.png,dog,,seen twice")
    one_fault(lambda: read_csv(table, CLASSES, {"all": ""}), table, "line 2: 5 cells, expected 3", "in quotes")
    write(table, "id;image;labels", "a;photos/a.png;dog;cat")
    one_fault(lambda: read_csv(table, CLASSES, {"all": ""}), table, "line 2: 4 cells, expected 3", "in quotes")


@pytest.mark.parametrize("order", ["utf-16-le", "utf-16-be"])
def test_csv_of_excels_unicode_text(table, order):
    text = '\ufeffid\timage\tlabels\tnotes\r\nköln\tphotos/a.png\t"cat;\r\ndog"\t"two\r\n""lines"""\r\n'
    table.write_bytes(text.encode(order))
    splits, (entry,) = read_csv(table, CLASSES, {"all": ""})
    assert splits == {"all": ["köln"]} and entry.labels == (0, 1)
    table.write_bytes(text.encode(order)[:-1])
    refused(lambda: read_csv(table, CLASSES, {"all": ""}), table, "breaks off or is damaged", "CSV UTF-8")


@pytest.mark.parametrize("encoding", ["utf-16-le", "latin-1", "cp1252"])
def test_csv_in_other_encodings(table, encoding):
    """The line is named, and shown as Windows would, so that it is found again."""
    table.write_bytes("id,image,labels\nköln,a.png,dog\n".encode(encoding))
    told = ["Windows-1252", "'köln"] if encoding != "utf-16-le" else ["byte 34"]
    refused(lambda: read_csv(table, CLASSES, SPLITS), table, "line 2", "CSV UTF-8", "LibreOffice", *told)


@pytest.mark.parametrize("content", [b"PK\x03\x04\x14\0\6\0\xff", b"\xd0\xcf\x11\xe0\xa1\xb1"])
def test_csv_that_is_a_workbook(table, content):
    table.write_bytes(content)
    refused(lambda: read_csv(table, CLASSES, SPLITS), table, "a workbook", "CSV UTF-8")


def test_csv_decimal_commas(table):
    columns = "id;image;labels;boxes;polygons"
    write(table, columns, "a;photos/a.png;dog;1,5 2 9,25 8 dog;dog: 1,5 2 9,25 2 9 8")
    (entry,) = read_csv(table, CLASSES, {"all": ""})[1]
    assert entry.boxes.tolist() == [[1.5, 2, 9.25, 8, 1]]
    for box, told in (("1,2,9,8 dog", "is not 'x0 y0 x1 y1"), ("1, 2, 9, 8 dog", "write decimals with a point")):
        write(table, columns, f"a;photos/a.png;dog;{box};")
        one_fault(lambda: read_csv(table, CLASSES, {"all": ""}), table, told)


@pytest.mark.parametrize(("column", "cell"), [("boxes", "1,250 2 9 8 dog"), ("polygons", "dog: 1,250 2 9 8 5 5")])
def test_csv_commas_that_may_be_thousands(table, column, cell):
    write(table, f"id;image;labels;{column}", f"a;photos/a.png;dog;{cell}")
    one_fault(lambda: read_csv(table, CLASSES, {"all": ""}), table, "'1,250' may be 1250 or 1.250")


# --- images that show none of the classes -----------------------------------------------------------------------------


@pytest.mark.parametrize("dash", ["-", " - ", "–", "—", "−", "-;"])
def test_csv_image_without_an_object(table, dash):
    write(table, HEADER, *ROWS, f"d,photos/a.png,{dash},,,val")
    entry = read_csv(table, CLASSES, SPLITS)[1][-1]
    assert entry.labels == () and entry.boxes.shape == (0, 5)


def test_csv_no_object_beside_others(table):
    write(table, HEADER, *ROWS, "d,photos/a.png,-;dog,,,val")
    csv_fault(table, "id 'd'", "'-' says that no class is shown")
    write(table, HEADER, *ROWS, "d,photos/a.png,-,,1 2 9 8 dog,val")
    csv_fault(table, "id 'd'", "a box of 'dog', which is not among the labels")


@pytest.mark.parametrize("labels", ["None", "background", "nothing", "n/a"])
def test_csv_words_for_no_object(table, labels):
    write(table, HEADER, *ROWS, f"d,photos/a.png,{labels},,,val")
    csv_fault(table, "id 'd'", f"label {labels!r} is unknown; write '-'")


@pytest.mark.parametrize("separator", [",", ", ", "|", "/"])
def test_csv_labels_that_are_separated_otherwise(table, separator):
    write(table, HEADER, *ROWS, f'd,photos/a.png,"dog{separator}cat",,,val')
    csv_fault(table, "id 'd'", "put ';' between them")


def test_csv_numbers_of_rows(table):
    """As pandas writes them: a first column without a name."""
    write(table, ",id,image,labels", "0,a,photos/a.png,dog", "1,b,photos/b.png,cat")
    faults = Faults()
    assert len(read_csv(table, CLASSES, {"all": ""}, faults=faults)[1]) == 2
    assert [f.check for f in faults.findings] == ["ignored_column"]


# --- polygons ---------------------------------------------------------------------------------------------------------


def outlined(table, cell, labels="cat;dog", **reading):
    """A picture of 30 x 20 pixels with polygons: what is said of its row."""
    table.write_text(f'id,image,labels,polygons\na,photos/a.png,{labels},"{cell}"\n')
    return read_csv(table, CLASSES, {"all": ""}, **reading)


@pytest.mark.parametrize(
    ("cell", "told"),
    [
        ("cat 1 2 9 2 9 8", "is not 'class: x0 y0"),
        ("cat: 1 2 9 2 9 8 4", "has 7 numbers, expected pairs"),
        ("cat: 1 2 9 2", "fewer than 3 different points"),
        ("cat: 1 2 9 2 1 2", "fewer than 3 different points"),
        ("cat:", "fewer than 3 different points"),
        ("cat: 1 2 9 2 x 8", "no number"),
        ("cat: 1 2 9 2 nan 8", "no number"),
        ("cat: 1 2, 9 2, 9 8", "no number"),
        ("cta: 1 2 9 2 9 8", "nearest known class is 'cat'"),
        ("horse: 1 2 9 2 9 8", "a polygon of 'horse', which is not among the labels"),
        ("cat: 0.1 0.1 0.9 0.1 0.5 0.8", "normalised"),
        ("cat: 1 2 39 2 9 8", "from 1 2 to 39 8 lies outside the image of 30 x 20 pixels; correct it"),
        ("cat: 1 2 9 2 9 28", "outside the image of 30 x 20 pixels; correct it, or set the data set's `orientation`"),
        ("ignored: 1 2 9 2 99 8", "outside the image"),
    ],
)
def test_csv_bad_polygon(table, cell, told):
    one_fault(lambda: outlined(table, f"dog: 1 2 9 2 9 8; {cell};"), table, "id 'a'", told)


def test_csv_polygons_that_are_right(table):
    """Line breaks, regions that are no class, a negative with an ignored region, a pixel of rounding over the edge."""
    for cell in ("cat: 1 2\n9 2 9 8;\n dog:0 0 30 0 30 20 0 20", "ignored: 1 2 9 2 9 8", "background: -1 0 31 0 9 21"):
        outlined(table, cell)
    outlined(table, "ignored: 1 2 9 2 9 8", labels="-")
    one_fault(lambda: outlined(table, "dog: 1 2 9 2 9 8", labels="-"), table, "not among the labels")


def test_csv_polygons_of_many_points(table):
    """More characters than Python's csv takes in a cell by itself."""
    outlined(table, f"cat: {'1.25 2.25 9.25 2.25 9.25 8.25 ' * 6000}")


def test_csv_polygons_and_a_mask(table):
    write(table, "id,image,labels,mask,polygons", "a,photos/a.png,cat,masks/a.png,cat: 1 2 9 2 9 8")
    one_fault(lambda: read_csv(table, CLASSES, {"all": ""}), table, "id 'a'", "both a mask and polygons")
    write(table, "id,image,labels,mask,polygon", "a,photos/a.png,cat,,cat: 1 2 9 2 9 8")
    one_fault(lambda: read_csv(table, CLASSES, {"all": ""}), table, "'polygons'", "rename")


# --- images to predict only -------------------------------------------------------------------------------------------


def test_csv_images_without_labels(table):
    """They need none in a split of their own; what is said of them is read and checked all the same."""
    write(table, HEADER, "a,photos/a.png,dog,,,train", "b,photos/b.png,,,,new", "c,photos/c.png,cat,,,new")
    splits = {"train": "train", "new": "new"}
    _, entries = read_csv(table, CLASSES, splits, unlabelled={"new"})
    assert [entry.labels for entry in entries] == [(1,), (), (0,)]
    one_fault(lambda: read_csv(table, CLASSES, splits), table, "id 'b'", "no label", "`labelled: false`")
    everything = {"all": "", "new": "new"}
    with pytest.raises(UserError) as caught:
        read_csv(table, CLASSES, everything, unlabelled={"new"})
    _, both, empty = str(caught.value).split("\n")
    assert "split 'new' has labelled: false, but 2 of its images, 'b' first" in both and "no label" in empty
