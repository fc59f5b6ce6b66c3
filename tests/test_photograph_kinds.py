"""Photographs of every kind: formats, modes, sizes, EXIF orientations; and that the advice works which a refused one is given."""

import re
import shlex
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from conftest import refused
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms
from small_images import FLAG, UPRIGHT, encoded, noise, opened, png

from workflow_scripts.commands import convert
from workflow_scripts.data.readers.images import check_image, read_image, read_label_png, read_saliency
from workflow_scripts.data.readers.mask_folder import MaskFolder

LOSSLESS = ("PNG", "TIFF", "WEBP")
EXAMPLES = settings(max_examples=60, deadline=None)
sides = st.integers(1, 12)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("kinds")


@EXAMPLES
@given(
    height=sides,
    width=sides,
    flag=st.sampled_from([None, *range(10)]),
    form=st.sampled_from(LOSSLESS),
    seed=st.integers(0, 9),
)
def test_orientations(place, height, width, flag, form, seed):
    """All readers agree on the picture that is shown, or on the pixels as they are stored."""
    pixels = noise(height, width, seed=seed).reshape(height, width, 3)
    (place / "a").write_bytes(encoded(Image.fromarray(pixels), form, flag))
    shown = UPRIGHT.get(flag, UPRIGHT[1])(pixels)
    np.testing.assert_array_equal(read_image(place / "a"), shown)
    np.testing.assert_array_equal(read_image(place / "a", oriented=False), pixels)
    mean = np.rint(shown.mean(axis=2)).astype(np.uint8)
    np.testing.assert_array_equal(read_saliency(place / "a"), mean)
    for oriented, expected in ((True, shown), (False, pixels)):
        found = check_image(place / "a", oriented)
        assert (found.height, found.width) == expected.shape[:2]
        assert found.orientation == (flag if flag in UPRIGHT else 1)


@pytest.mark.parametrize("flag", UPRIGHT)
def test_orientation_of_a_jpeg_of_blocks(place, flag):
    """Its pixels are those of a viewer: corners of four colours."""
    pixels = np.zeros((32, 64, 3), np.uint8)
    pixels[:16, :32], pixels[:16, 32:], pixels[16:, :32] = (250, 0, 0), (0, 250, 0), (0, 0, 250)
    (place / "a.jpg").write_bytes(encoded(Image.fromarray(pixels), "JPEG", flag, quality=95, subsampling=0))
    assert np.abs(read_image(place / "a.jpg").astype(int) - UPRIGHT[flag](pixels)).max() < 12


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
@EXAMPLES
@given(data=st.binary(max_size=80), form=st.sampled_from(["JPEG", "PNG", "WEBP"]), cut=st.integers(0, 60))
def test_damaged_exif_is_no_orientation(place, data, form, cut):
    exif = Image.Exif()
    exif[FLAG] = 6
    for content in (b"Exif\0\0" + data, exif.tobytes()[:cut]):
        (place / "b").write_bytes(encoded(Image.fromarray(noise()), form, exif=content))
        assert sorted(read_image(place / "b").shape) == [3, 20, 30]
        assert check_image(place / "b").orientation in UPRIGHT


KINDS = {
    "1": lambda a: (Image.fromarray(a[..., 0] > 127), np.where(a[..., :1] > 127, 255, 0)),
    "L": lambda a: (Image.fromarray(a[..., 0]), a[..., :1]),
    "LA": lambda a: (Image.merge("LA", [Image.fromarray(a[..., 0]), Image.new("L", a.shape[1::-1], 255)]), a[..., :1]),
    "P": lambda a: (indexed(a), PALETTE[a[..., 0] % 16]),
    "P with tRNS": lambda a: (indexed(a, transparency=bytes([255] * 16)), PALETTE[a[..., 0] % 16]),
    "RGB": lambda a: (Image.fromarray(a), a),
    "RGBA": lambda a: (Image.fromarray(np.dstack([a, np.full_like(a[..., 0], 255)])), a),
}
PALETTE = np.random.default_rng(0).integers(0, 256, (16, 3)).astype(np.uint8)
HOLDS = {
    "PNG": set(KINDS),
    "TIFF": KINDS.keys() - {"P with tRNS"},
    "BMP": {"1", "L", "P", "RGB"},
    "GIF": {"1", "L", "P"},
    "PPM": {"1", "L", "RGB"},
    "WEBP": {"RGB", "RGBA"},
}


def indexed(pixels, **info):
    image = Image.fromarray(pixels[..., 0] % 16)
    image.putpalette(PALETTE.tobytes())
    image.info |= info
    return image


@EXAMPLES
@given(
    height=sides,
    width=sides,
    kind=st.sampled_from([(form, kind) for form, kinds in HOLDS.items() for kind in sorted(kinds)]),
)
def test_kinds_that_are_read(place, height, width, kind):
    form, name = kind
    image, expected = KINDS[name](noise(height, width).reshape(height, width, 3))
    (place / "c").write_bytes(
        encoded(image, form, **{key: image.info[key] for key in ("transparency",) if key in image.info})
    )
    expected = np.broadcast_to(expected, (height, width, 3))
    np.testing.assert_array_equal(read_image(place / "c"), expected)
    assert check_image(place / "c")[:2] == (height, width)
    if np.ptp(expected, axis=2).max() == 0:
        np.testing.assert_array_equal(read_saliency(place / "c"), expected[..., 0])


def test_bitmaps_of_five_bits_a_channel_are_no_16_bits_a_channel(place):
    header = b"BM" + (70).to_bytes(4, "little") + bytes(4) + (66).to_bytes(4, "little")
    header += (40).to_bytes(4, "little") + (2).to_bytes(4, "little") + (1).to_bytes(4, "little") + b"\1\0\x10\0"
    header += (3).to_bytes(4, "little") + (4).to_bytes(4, "little") + bytes(16)
    masks = b"".join(mask.to_bytes(4, "little") for mask in (0xF800, 0x7E0, 0x1F))
    (place / "a.bmp").write_bytes(header + masks + b"\x00\xf8\x1f\x00")
    np.testing.assert_array_equal(read_image(place / "a.bmp"), [[[255, 0, 0], [0, 0, 255]]])


def test_copies_in_other_files_have_the_same_pixels(place):
    """Whatever the format, the compression or the orientation; not those of another shape."""
    pixels = noise(6, 8).reshape(6, 8, 3)
    turned = Image.fromarray(np.ascontiguousarray(UPRIGHT[6](pixels)))  # which flag 8 turns back
    files = [encoded(Image.fromarray(pixels), form) for form in ("PNG", "TIFF", "WEBP", "BMP")]
    others = [encoded(turned, "PNG"), encoded(Image.fromarray(pixels.reshape(8, 6, 3)), "PNG")]
    found = []
    for content in (*files, encoded(turned, "PNG", 8), *others):
        (place / "e").write_bytes(content)
        found.append(check_image(place / "e"))
    assert len({one.pixels for one in found[:5]}) == 1 and len({one.digest for one in found[:5]}) == 5
    assert len({one.pixels for one in found}) == 3


def test_a_phones_picture_with_a_preview_is_its_first(place):
    first, second = Image.fromarray(noise()), Image.new("RGB", (4, 4))
    first.save(place / "mpo.jpg", "MPO", save_all=True, append_images=[second], quality=95)
    assert opened(place / "mpo.jpg").n_frames == 2
    assert read_image(place / "mpo.jpg").shape == (20, 30, 3)


def test_a_tiff_with_smaller_copies_is_its_first_page(place):
    image = Image.fromarray(noise())
    reduced = Image.fromarray(noise(10, 15))
    reduced.encoderinfo = {"tiffinfo": {254: 1}}
    image.save(place / "a.tif", save_all=True, append_images=[reduced])
    np.testing.assert_array_equal(read_image(place / "a.tif"), noise())


# --- what is refused, and the advice ----------------------------------------------------------------------------------


def deep(height=6, width=8):
    """Twelve bits in use of sixteen."""
    return (np.arange(height * width).reshape(height, width) * 4095 // (height * width - 1) + 100).astype(np.uint16)


def planar(pixels):
    """An uncompressed TIFF of 16 bits whose channels are stored one after the other."""
    height, width, _ = pixels.shape
    planes, size = [pixels[..., channel].astype("<u2").tobytes() for channel in range(3)], 2 * height * width
    start = 8 + 2 + 10 * 12 + 4
    bits, offsets, counts = start, start + 6, start + 18
    data = start + 30
    tags = [
        (256, 3, 1, width),
        (257, 3, 1, height),
        (258, 3, 3, bits),
        (259, 3, 1, 1),
        (262, 3, 1, 2),
        (273, 4, 3, offsets),
    ]
    tags += [(277, 3, 1, 3), (278, 3, 1, height), (279, 4, 3, counts), (284, 3, 1, 2)]
    head = b"II*\0" + struct.pack("<I", 8) + struct.pack("<H", len(tags))
    head += b"".join(struct.pack("<HHII", *tag) for tag in tags) + struct.pack("<I", 0)
    head += (
        struct.pack("<3H", 16, 16, 16)
        + struct.pack("<3I", *(data + size * k for k in range(3)))
        + struct.pack("<3I", *[size] * 3)
    )
    return head + b"".join(planes)


def cut_out(mode="RGBA"):
    image = Image.new("RGBA", (8, 6), (200, 20, 20, 255))
    image.paste((0, 0, 0, 0), (0, 0, 3, 6))
    return image.convert(mode)


def color_key(mode):
    return Image.new(mode, (8, 6), 0 if mode in "1L" else (0, 0, 0)), {"transparency": 0 if mode in "1L" else (0, 0, 0)}


def lab():
    profiles = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    return ImageCms.profileToProfile(Image.new("RGB", (8, 6), (200, 20, 20)), *profiles, outputMode="LAB")


REFUSED = {  # a file name, what is written, what is told, colour at the right edge after the advice
    "16 bits, TIFF": ("a.tif", lambda: encoded(Image.fromarray(deep()), "TIFF"), "16 or more bits", (255, 255, 255)),
    "16 bits, PNG": ("a.png", lambda: encoded(Image.fromarray(deep()), "PNG"), "contrast", (255, 255, 255)),
    "16 bits, colour": ("a.png", lambda: cv2.imencode(".png", np.dstack([deep()] * 3))[1].tobytes(), "16 or more", (255, 255, 255)),
    "16 bits, colour TIFF": ("a.tif", lambda: cv2.imencode(".tif", np.dstack([deep()] * 3))[1].tobytes(), "16 or", (255, 255, 255)),
    "16 bits, PGM": ("a.pgm", lambda: b"P5 8 6 65535\n" + deep().astype(">u2").tobytes(), "16 or more", (255, 255, 255)),
    "12 bits, PPM": ("a.ppm", lambda: b"P6 8 6 4095\n" + np.dstack([deep()] * 3).astype(">u2").tobytes(), "16 or", (255, 255, 255)),
    "floats": ("a.tif", lambda: encoded(Image.fromarray(deep().astype(np.float32) / 9e3), "TIFF"), "16 or", (255, 255, 255)),
    "transparent": ("a.png", lambda: encoded(cut_out(), "PNG"), "transparent", (200, 20, 20)),
    "transparent WebP": ("a.webp", lambda: encoded(cut_out(), "WEBP"), "transparent", (200, 20, 20)),
    "transparent TIFF": ("a.tif", lambda: encoded(cut_out(), "TIFF"), "flatten", (200, 20, 20)),
    "transparent gray": ("a.png", lambda: encoded(cut_out("LA"), "PNG"), "flatten", (74, 74, 74)),
    "transparent colour": ("a.png", lambda: encoded(color_key("RGB")[0], "PNG", **color_key("RGB")[1]), "flatten", (255, 255, 255)),
    "transparent level": ("a.png", lambda: encoded(color_key("L")[0], "PNG", **color_key("L")[1]), "flatten", (255, 255, 255)),
    "transparent bit": ("a.png", lambda: encoded(color_key("1")[0], "PNG", **color_key("1")[1]), "flatten", (255, 255, 255)),
    "transparent GIF": ("a.gif", lambda: encoded(cut_out("P"), "GIF", transparency=cut_out("P").getpixel((0, 0))), "flat", (200, 20, 20)),
    "CMYK": ("a.jpg", lambda: encoded(Image.new("CMYK", (8, 6), (0, 255, 255, 0)), "JPEG", quality=100), "CMYK", (255, 0, 0)),
    "LAB": ("a.tif", lambda: encoded(lab(), "TIFF"), "LAB", (200, 20, 20)),
}  # fmt: skip


def follow(message):
    """Runs the command that a message has between back quotes, as a shell would; returns the file that it writes."""
    (command,) = re.findall("`(.*?)`", message)
    words = shlex.split(command)
    if words[:2] == ["python", "-c"]:
        subprocess.run([sys.executable, *words[1:]], check=True)
        return Path(words[-1])
    assert words[:2] == ["wsss", "convert"]
    convert.main(words[2:])
    return Path(words[3])


@pytest.mark.parametrize("flag", [None, 6])
@pytest.mark.parametrize("kind", REFUSED)
def test_the_advice_for_a_refused_photograph_works(tmp_path, kind, flag):
    name, content, fragment, colour = REFUSED[kind]
    folder = tmp_path / "my photographs"
    folder.mkdir()
    path = folder / name
    path.write_bytes(content())
    if flag and path.suffix in (".jpg", ".webp"):
        path.write_bytes(encoded(opened(path), opened(path).format, flag))
    turned = flag and path.suffix in (".jpg", ".webp")
    for reader in (read_image, check_image):
        message = refused(lambda reader=reader: reader(path), path, fragment)
    before = path.read_bytes()
    image = read_image(follow(message))
    assert path.read_bytes() == before
    assert image.shape == ((8, 6, 3) if turned else (6, 8, 3))
    assert np.abs(image[-1, -1].astype(int) - colour).max() <= 4
    if kind.startswith("16"):
        assert len(np.unique(image)) == 48  # nothing is lost: 48 values of 4,096
    refused(
        lambda: list(convert.convert(path, folder / "a_rgb.png" if path.suffix == ".png" else folder / "a.png")),
        "never overwritten",
    )


@pytest.mark.parametrize("form", ["TIFF", "GIF", "WEBP", "PNG"])
def test_pages_and_frames_are_refused(tmp_path, form):
    path = tmp_path / f"stack.{form.lower()}"
    pages = [Image.new("L", (8, 6), shade) for shade in (10, 90, 200)]
    pages[0].save(path, form, save_all=True, append_images=pages[1:])
    message = refused(lambda: read_image(path), path, "3 pages or frames")
    out = follow(message)
    shades = [read_image(out.with_stem(f"{out.stem}_{number}")) for number in (1, 2, 3)]
    assert [int(shade.mean()) for shade in shades] == pytest.approx([10, 90, 200], abs=4)
    pages[0].save(tmp_path / "one", form, save_all=True)
    assert read_image(tmp_path / "one").shape == (6, 8, 3)


def test_the_range_of_a_conversion(tmp_path):
    Image.fromarray(np.array([[0, 1024, 4095, 9999]], np.uint16)).save(tmp_path / "a.tif")
    list(convert.convert(tmp_path / "a.tif", tmp_path / "b.png", (0, 4095)))
    np.testing.assert_array_equal(read_image(tmp_path / "b.png")[0, :, 0], [0, 64, 255, 255])
    refused(lambda: list(convert.convert(tmp_path / "a.tif", tmp_path / "b.jpg")), "ends in .png")
    refused(lambda: list(convert.convert(tmp_path / "a.tif", tmp_path / "c.png", (5, 5))), "--range 5 5")
    refused(lambda: list(convert.convert(tmp_path / "no.tif", tmp_path / "c.png")), "no.tif", "cannot be read")


def test_the_advice_for_saliency_maps_keeps_their_values(tmp_path):
    Image.fromarray(np.array([[0, 257, 257 * 90]], np.uint16)).save(tmp_path / "a.png")
    out = follow(refused(lambda: read_saliency(tmp_path / "a.png"), "16 or more"))
    np.testing.assert_array_equal(read_saliency(out), [[0, 1, 90]])
    alpha = np.array([[0, 40, 255]], np.uint8)
    Image.fromarray(np.dstack([alpha * 0] * 3 + [alpha])).save(tmp_path / "b.png")
    np.testing.assert_array_equal(
        read_saliency(follow(refused(lambda: read_saliency(tmp_path / "b.png"), "alpha"))), alpha
    )


@pytest.mark.parametrize("depth", [1, 2, 4, 8])
def test_a_gray_that_is_transparent(tmp_path, depth):
    """It is named by its value as it is stored."""
    content, pixel = png(2, 1, depth, 0, bytes([0, 1 << (8 - depth), *[0] * (depth == 8)])), struct.pack(">H", 1)
    chunk = struct.pack(">I", 2) + b"tRNS" + pixel + struct.pack(">I", zlib.crc32(b"tRNS" + pixel))
    place = content.index(b"IDAT") - 4
    (tmp_path / "a.png").write_bytes(content)
    assert read_image(tmp_path / "a.png").shape == (1, 2, 3)
    (tmp_path / "a.png").write_bytes(content[:place] + chunk + content[place:])
    refused(lambda: read_image(tmp_path / "a.png"), "transparent")


def test_16_bits_in_planes_are_refused(tmp_path):
    """Pillow reads their low bytes, without a word."""
    (tmp_path / "a.tif").write_bytes(planar(np.dstack([deep()] * 3)))
    assert "`" not in refused(lambda: read_image(tmp_path / "a.tif"), "16 or more bits", "one after the other")
    refused(lambda: list(convert.convert(tmp_path / "a.tif", tmp_path / "a.png")), "one after the other")


@pytest.mark.parametrize(("start", "fragment"), [(b"\0\0\0\x18ftypheic", "HEIC"), (b"II*\0\x08\0\0\0\0\0", "TIFF")])
def test_kinds_that_cannot_be_read(tmp_path, start, fragment):
    (tmp_path / "a").write_bytes(start + bytes(40))
    refused(lambda: read_image(tmp_path / "a"), fragment, ";")


# --- label maps -------------------------------------------------------------------------------------------------------


@EXAMPLES
@given(
    depth=st.sampled_from([1, 2, 4, 8, 16]),
    colour=st.sampled_from([0, 3]),
    flag=st.sampled_from([None, 1, 6]),
    data=st.data(),
)
def test_label_maps_hold_the_values_that_are_stored(place, depth, colour, flag, data):
    depth = min(depth, 8) if colour == 3 else depth
    height, width = data.draw(sides), data.draw(sides)
    most = min(2**depth - 1, 254)
    values = np.array(data.draw(st.lists(st.integers(0, most), min_size=width, max_size=width)))
    bits = ((values[:, None] >> np.arange(depth)[::-1]) & 1).astype(np.uint8).ravel()
    content = png(width, height, depth, colour, b"\0" + np.packbits(bits).tobytes())
    if colour == 3:
        image = Image.fromarray(np.tile(values.astype(np.uint8), (height, 1)))
        image.putpalette(bytes(768))
        content = encoded(image, "PNG", flag, bits=depth)
    (place / "x.png").write_bytes(content)
    expected = UPRIGHT[(flag if colour == 3 else None) or 1](np.tile(values, (height, 1)))
    np.testing.assert_array_equal(read_label_png(place / "x.png", None, 254), expected)
    folder = MaskFolder(place_of(place, content), [f"class {number}" for number in range(1, 255)])
    np.testing.assert_array_equal(folder.read("x", expected.shape), expected)


def place_of(place, content):
    (place / "masks").mkdir(exist_ok=True)
    (place / "masks" / "x.png").write_bytes(content)
    return place / "masks"


def test_the_advice_for_label_maps_works(tmp_path):
    label = np.array([[0, 1, 2, 255]], np.uint8)
    path = tmp_path / "m.png"
    for image in (Image.fromarray(np.dstack([label] * 3)), Image.fromarray(np.dstack([label] * 3 + [label * 0 + 255]))):
        image.save(path)
        assert follow(refused(lambda: read_label_png(path, None, 2), path, "palette or gray", "255 for void")) == path
        np.testing.assert_array_equal(read_label_png(path, None, 2), label)
    for form in ("TIFF", "BMP"):
        Image.fromarray(label).save(tmp_path / "m.x", form)
        out = follow(refused(lambda: read_label_png(tmp_path / "m.x", None, 2), form, "stored as PNG"))
        np.testing.assert_array_equal(read_label_png(out, None, 2), label)


def test_label_values_may_be_any(tmp_path):
    Image.fromarray(np.array([[0, 255, 7]], np.uint8)).save(tmp_path / "m.png")
    np.testing.assert_array_equal(read_label_png(tmp_path / "m.png", {255: 1, 7: 2}, 2), [[0, 1, 2]])
    np.testing.assert_array_equal(read_label_png(tmp_path / "m.png", {7: 1}, 1), [[0, 255, 1]])
