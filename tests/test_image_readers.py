"""The readers of images, label maps and saliency maps, the ids of images, and the list of faults."""

import hashlib

import numpy as np
import pytest
from conftest import refused
from PIL import Image
from small_images import HEIGHT, WIDTH, noise, png

from workflow_scripts.base.digests import file_sha256
from workflow_scripts.base.errors import UserError
from workflow_scripts.data.index_entries import Faults, check_id, nearest_name
from workflow_scripts.data.readers.images import (
    check_image,
    read_image,
    read_label_png,
    read_saliency,
)
from workflow_scripts.data.readers.voc_masks import mask_ids

# --- images ---------------------------------------------------------------------------------------------------------


def test_read_image_returns_the_pixels(tmp_path):
    pixels = noise()
    Image.fromarray(pixels).save(tmp_path / "a.png")
    image = read_image(tmp_path / "a.png")
    assert image.dtype == np.uint8 and image.flags.c_contiguous and image.flags.writeable
    np.testing.assert_array_equal(image, pixels)
    assert check_image(tmp_path / "a.png")[:2] == (HEIGHT, WIDTH)


def test_read_image_repeats_gray(tmp_path):
    gray = noise(channels=1)
    Image.fromarray(gray).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), np.repeat(gray[..., None], 3, axis=2))


def test_digest_is_sha256_of_the_bytes(tmp_path):
    path = tmp_path / "a.png"
    Image.fromarray(noise()).save(path)
    expected = hashlib.sha256(path.read_bytes()).hexdigest()
    assert file_sha256(path) == expected
    assert check_image(path)[:4] == (HEIGHT, WIDTH, expected, 1)
    (tmp_path / "abc").write_bytes(b"abc")
    assert file_sha256(tmp_path / "abc").startswith("ba7816bf8f01cfea")  # FIPS 180-2, appendix B.1


HEADER_FAULTS = {
    "missing": (lambda path: None, "missing"),
    "empty": (lambda path: path.write_bytes(b""), "zero bytes"),
    "text": (lambda path: path.write_text("not a photograph"), "not an image"),
    "postscript": (lambda path: path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"), "not an image"),
    "cmyk": (lambda path: Image.new("CMYK", (4, 4)).save(path, format="JPEG"), "CMYK"),
    "gray of 16 bits": (lambda path: path.write_bytes(png(2, 2, 16, 0, b"\0\1\2\3\4")), "16 or more bits"),
    "rgb of 16 bits": (lambda path: path.write_bytes(png(1, 2, 16, 2, b"\0\1\2\3\4\5\6")), "16 or more bits"),
    "gray of 32 bits": (lambda path: Image.new("F", (4, 4)).save(path, format="TIFF"), "16 or more bits"),
    "with alpha": (lambda path: Image.new("RGBA", (4, 4)).save(path, format="PNG"), "transparent in places"),
    "bomb": (lambda path: path.write_bytes(png(10_001, 10_000)), "larger than 100 megapixels"),
    "large bomb": (lambda path: path.write_bytes(png(30_000, 30_000)), "larger than 100 megapixels"),
}


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("reader", [read_image, check_image, read_saliency])
@pytest.mark.parametrize("name", HEADER_FAULTS)
def test_image_refused_by_its_header(tmp_path, name, reader):
    write, fragment = HEADER_FAULTS[name]
    path = tmp_path / "x.jpg"
    write(path)
    message = refused(lambda: reader(path), path, fragment)
    assert ";" in message  # what to do follows


@pytest.mark.parametrize("suffix", ["jpg", "png", "bmp"])
@pytest.mark.parametrize("reader", [read_image, check_image])
def test_truncated_image_is_refused(tmp_path, suffix, reader):
    path = tmp_path / f"x.{suffix}"
    Image.fromarray(noise(64, 64)).save(path)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    refused(lambda: reader(path), path, "truncated or corrupt")


def test_folder_is_no_image(tmp_path):
    for reader in (read_image, check_image):
        refused(lambda reader=reader: reader(tmp_path), tmp_path, "cannot be read")


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
    refused(lambda: read_label_png(path, None, 20), path, "label id 21, 254 is none of the 20 classes")
    refused(lambda: read_label_png(path, {3: 1}, 1), path, "label id 21, 254")
    Image.fromarray(noise()).save(path)
    refused(lambda: read_label_png(path, None, 20), path, "RGB", "palette or gray")
    Image.new("L", (4, 4)).save(path, format="JPEG")
    refused(lambda: read_label_png(path, None, 20), path, "JPEG", "PNG")
    refused(lambda: read_label_png(tmp_path / "no.png", None, 20), "no.png", "missing")
    save_palette(path, noise(64, 64, 1))
    path.write_bytes(path.read_bytes()[:-2000])
    refused(lambda: read_label_png(path, None, 20), path, "truncated")


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
    refused(lambda: check_id(identifier), "image id", "expected")


@pytest.mark.parametrize("identifier", ["2007_000032", "COCO_train2014_000000000009", "a b.c", "köln", "x" * 200])
def test_good_ids(identifier):
    check_id(identifier)


def test_nearest_ignores_case():
    assert nearest_name("DOGE", ["cat", "dog", "person"]) == "dog"
    assert nearest_name("Person", ["cat", "dog", "person"]) == "person"
