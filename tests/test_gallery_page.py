"""The gallery's page in headless Chromium, with real clicks and keys, in a wide and in a narrow window."""

import functools
import http.server
import json
import re
import shutil
import threading

import pytest
from conftest import SOURCES
from small_gallery import CLASSES, NASTY, doubt_of, write_data_set, write_gallery

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: requirements-dev.txt")
expect = playwright.expect

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="no Chromium on this machine; Debian: apt-get install chromium"
)

TRAIN, VALIDATION = 90, 6
WIDE, NARROW = {"width": 1500, "height": 900}, {"width": 400, "height": 760}
MASK = ".cell.masks >> nth=0"


@pytest.fixture(scope="module")
def page_file(tmp_path_factory):
    root = tmp_path_factory.mktemp("toy")
    write_data_set(root, TRAIN, VALIDATION)
    return write_gallery(root, tmp_path_factory.mktemp("gallery"))


@pytest.fixture(scope="module")
def rows(page_file) -> list[dict]:
    text = (page_file.parent / "files/data.js").read_text()
    return json.loads(text.removeprefix("gallery.data(").removesuffix(");\n"))["rows"]


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as starter:
        browser = starter.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def opened(browser, page_file):
    """Open the page in a window of a size; at the end, nothing was complained of and nothing fetched from elsewhere."""
    pages, faults, fetched = [], [], []

    def told(text):
        if "willReadFrequently" not in text:  # the tests read pixels back, the page does not
            faults.append(text)

    def open_page(size=WIDE, choices="", where=None):
        page = browser.new_page(viewport=size)
        page.set_default_timeout(20_000)
        page.on("console", lambda message: told(message.text))
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("request", lambda request: fetched.append(request.url))
        pages.append(page)
        page.base = (where or page_file.parent.as_uri()).rsplit("/index.html")[0]
        page.goto(f"{where or page_file.as_uri()}#{choices}")
        expect(page.locator(".row .frame").first).to_be_attached()
        return page

    yield open_page
    assert faults == []
    base = [page.base for page in pages]
    assert [url for url in fetched if not url.startswith(("data:", "blob:", *base))] == []
    for page in pages:
        page.close()


both = pytest.mark.parametrize("size", [WIDE, NARROW], ids=["wide", "narrow"])


def ids(page) -> list[str]:
    return page.locator(".row b").all_text_contents()


def filters(page) -> None:
    """Narrow windows have the filters behind a button."""
    if page.viewport_size["width"] < 720:
        page.click("#filters-button")


def pixel(page, selector: str, x: float, y: float) -> list[int]:
    """Red, green, blue, alpha of a picture's canvas at shares of its width and height."""
    script = """(canvas, [x, y]) => [...canvas.getContext('2d').getImageData(
        Math.floor(x * canvas.width), Math.floor(y * canvas.height), 1, 1).data]"""
    return page.locator(f"{selector} >> canvas").evaluate(script, [x, y])


def point_at(page, selector: str, x: float, y: float) -> None:
    frame = page.locator(f"{selector} >> .frame")
    frame.scroll_into_view_if_needed()
    box = frame.bounding_box()
    page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"])


# Rows and columns


@both
def test_rows_are_images_and_columns_are_stages(opened, rows, size):
    page = opened(size)
    expect(page.locator("#count")).to_have_text(f"{TRAIN} of {TRAIN + VALIDATION} images")
    assert [re.sub(r"mean.*", "", text) for text in page.locator(".head:not(.corner)").all_text_contents()] == [
        *("image", "saliencynet", "heat mapseps", "maskeps", "refined maskeps_crf", "truth", "errors")
    ]
    assert ids(page) == [row["id"] for row in rows][: len(ids(page))]
    first = page.locator(".row").first
    scores = [f"{100 * rows[0]['iou'][place]:.1f}" for place in range(4)]
    expect(first.locator(".iou").first).to_have_text(scores[0])
    page.locator(MASK).scroll_into_view_if_needed()
    expect(first.locator(".iou").nth(2)).to_have_text(scores[2])
    expect(page.locator(MASK)).to_have_attribute(
        "aria-label", re.compile(r"^mask eps of train_0: background \d+ %, .*IoU ")
    )
    filters(page)
    page.select_option("#split", label="validation")
    expect(page.locator("#count")).to_have_text(f"{VALIDATION} of {TRAIN + VALIDATION} images")
    assert "predictioneps/fov/single" in page.locator(".head").nth(3).text_content()


def test_only_rows_near_the_window_are_in_the_page(opened, rows):
    page = opened()
    assert len(ids(page)) < 20
    page.locator("#scroller").press("Control+End")
    last = page.locator(".row b", has_text=f"train_{TRAIN - 1}")
    expect(last).to_be_in_viewport()
    expect(page.locator(".row").last.locator(".cell.masks canvas").first).to_be_attached()
    assert len(ids(page)) < 20 and ids(page)[-1] == f"train_{TRAIN - 1}"


@both
def test_names_are_text_and_never_markup(opened, size):
    page = opened(size)
    assert page.locator("#legend button").all_text_contents() == list(CLASSES)
    assert NASTY in page.locator(".said .labels").nth(1).text_content()
    assert page.locator('img[src="x"]').count() == 0 and page.evaluate("typeof hacked") == "undefined"


def test_over_http(opened, page_file):
    quiet = type("Quiet", (http.server.SimpleHTTPRequestHandler,), {"log_message": lambda *_: None})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(quiet, directory=page_file.parent))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        page = opened(where=f"http://127.0.0.1:{server.server_port}/index.html")
        expect(page.locator(MASK).locator("canvas")).to_be_attached()
    finally:
        server.shutdown()
        server.server_close()


def test_a_missing_file_of_a_row_is_told(browser, page_file, tmp_path):
    shutil.copytree(page_file.parent, tmp_path / "gallery")
    (tmp_path / "gallery/files/rows/1.js").unlink()
    (tmp_path / "gallery/files/rows/2.js").write_text('gallery.row(2,{"maps":"AAAA","size":[2,2],"cells":[]});\n')
    page = browser.new_page(viewport=WIDE)
    page.goto((tmp_path / "gallery/index.html").as_uri())
    for place in (1, 2):
        expect(page.locator(".row").nth(place).locator(".tile").first).to_have_text("cannot be read")
    expect(page.locator(".row").nth(3).locator(".cell.masks canvas").first).to_be_attached()
    (tmp_path / "gallery/files/data.js").unlink()
    page.reload()
    expect(page.locator("#count")).to_contain_text("files/data.js cannot be read")
    page.close()


# Sorting and filters


@both
def test_sorting_by_any_column(opened, rows, size):
    page = opened(size)
    for place, stage in ((0, "saliency"), (2, "masks")):
        order = sorted((row for row in rows if row["splits"] == [0]), key=lambda row: row["iou"][place])
        head = page.locator(f".head.{stage}").first
        head.locator("button").click()
        expect(head).to_have_attribute("aria-sort", "ascending")
        assert ids(page) == [row["id"] for row in order][: len(ids(page))]
        head.locator("button").click()
        expect(head).to_have_attribute("aria-sort", "descending")
        assert rows[int(ids(page)[0].removeprefix("train_"))]["iou"][place] == order[-1]["iou"][place]
        head.locator("button").click()
        assert ids(page)[:3] == ["train_0", "train_1", "train_2"]
    filters(page)
    page.select_option("#sort", label="mask eps, worst first")
    assert ids(page)[0] == order[0]["id"]


@both
def test_sorting_by_doubt(opened, size):
    """Needs no truth: the most doubtful first, those whose doubt is not known last; the number stands below the picture."""
    page = opened(size)
    expect(page.locator(".cell.masks >> nth=1 >> .doubt")).to_have_text("doubt 0.0")
    head = page.locator(".head.masks").nth(1)
    head.scroll_into_view_if_needed()
    for _ in range(3):  # worst, best, most doubtful
        head.locator("button").click()
    expect(head).to_have_attribute("aria-sort", "descending")
    expect(head).to_contain_text("▼ doubtful first")
    order = sorted(range(TRAIN), key=lambda number: (doubt_of(number) is None, -(doubt_of(number) or 0), number))
    assert ids(page) == [f"train_{number}" for number in order][: len(ids(page))] and order[-1] == 5
    head.locator("button").click()
    assert ids(page)[:3] == ["train_0", "train_1", "train_2"]
    filters(page)
    page.select_option("#sort", label="refined mask eps_crf, most doubtful first")
    assert ids(page)[0] == f"train_{order[0]}"
    assert page.locator("#sort option", has_text="doubtful").count() == 1


@both
def test_filters_by_class_labels_split_and_id(opened, rows, size):
    page = opened(size)
    filters(page)

    def left(**wanted) -> list[str]:
        found = [row for row in rows if row["splits"] == [wanted.get("split", 0)]]
        found = [row for row in found if wanted.get("label", row["labels"][0]) in row["labels"]]
        return [row["id"] for row in found if wanted.get("count", len(row["labels"])) == len(row["labels"])]

    page.select_option("#class", label="dog")
    assert ids(page) == left(label=3)[: len(ids(page))]
    expect(page.locator("#count")).to_have_text(f"{len(left(label=3))} of {len(rows)} images")
    page.select_option("#class", label="bird")
    page.select_option("#labels", label="1")
    assert ids(page) == [] and page.locator("#empty").is_visible()
    page.click("#reset")
    page.select_option("#labels", label="2")
    assert ids(page) == left(count=2)[: len(ids(page))]
    page.select_option("#labels", label="any number")
    page.fill("#find", "TRAIN_8")
    assert ids(page) == ["train_8", *(f"train_8{n}" for n in range(10))][: len(ids(page))]
    page.fill("#find", "")
    page.locator("#legend button").nth(1).click()
    assert ids(page) == left(label=2)[: len(ids(page))]
    assert "class=2" in page.url
    page.reload()  # the address keeps the choices
    expect(page.locator("#count")).to_have_text(f"{len(left(label=2))} of {len(rows)} images")


@both
def test_columns_can_be_hidden(opened, size):
    page = opened(size)
    filters(page)
    page.click("#columns summary")
    page.locator("#column-list label", has_text="saliency net").click()
    assert page.locator(".head.saliency").count() == page.locator(".cell.saliency").count() == 0
    page.keyboard.press("Escape")
    assert not page.locator("#column-list").is_visible()
    page.click("#columns summary")
    page.locator("#column-list label", has_text="saliency net").click()
    assert page.locator(".head.saliency").count() == 1


# Pictures


@both
def test_colours_overlay_and_palette(opened, size):
    page = opened(size, "overlay=0&hide=saliency:net|cams:eps|image")
    expect(page.locator(MASK).locator("canvas")).to_be_attached()
    assert pixel(page, MASK, 0.5, 0.3) == [128, 0, 0, 255]  # bird, VOC's first colour
    assert pixel(page, MASK, 0.5, 0.7) == [0, 128, 0, 255] and pixel(page, MASK, 0.02, 0.5)[3] == 0
    page.click("#overlay")
    page.wait_for_timeout(100)
    mixed = pixel(page, MASK, 0.5, 0.3)  # over the photograph in grey, which is from 90 to 160
    assert mixed[3] == 255 and 100 <= mixed[0] <= 145 and 25 <= mixed[1] <= 55 and mixed[1] == mixed[2]
    assert pixel(page, MASK, 0.02, 0.5)[3] == 255
    page.keyboard.press("o")
    page.wait_for_timeout(100)
    page.click("#safe")
    expect(page.locator("#safe")).to_have_attribute("aria-pressed", "true")
    expect(page.locator(MASK).locator("canvas")).to_be_attached()
    page.wait_for_timeout(100)
    assert pixel(page, MASK, 0.5, 0.3) == [230, 159, 0, 255]  # Okabe and Ito's orange
    page.keyboard.press("p")
    page.wait_for_timeout(100)
    assert pixel(page, MASK, 0.5, 0.3) == [128, 0, 0, 255]


def test_errors_against_the_truth(opened, rows):
    page = opened(choices="overlay=0&sort=worst+masks:eps&hide=saliency:net|cams:eps|image")
    worst = page.locator(".row").first.locator("b").text_content()
    assert worst == min((row for row in rows if row["splits"] == [0]), key=lambda row: row["iou"][2])["id"]
    last = ".row >> nth=0 >> .cell.errors"
    expect(page.locator(last).locator("canvas")).to_be_attached()
    expect(page.locator(last)).to_have_attribute("aria-label", re.compile("^errors of mask eps of .*missed object"))
    assert pixel(page, last, 0.2, 0.5) == [240, 228, 66, 255]  # missed
    page.keyboard.press("e")
    expect(page.locator(".row >> nth=0 >> .cell.masks >> nth=0")).to_have_attribute(
        "aria-label", re.compile("^errors of mask eps ")
    )
    assert pixel(page, ".row >> nth=0 >> .cell.masks >> nth=0", 0.2, 0.5) == [240, 228, 66, 255]
    refined = page.locator(".row >> nth=0 >> .cell.masks >> nth=1")
    expect(refined).to_have_attribute("aria-label", re.compile("^errors of refined mask eps_crf of .*: correct"))
    assert "missed" not in refined.get_attribute("aria-label")


@both
def test_the_class_under_the_pointer(opened, size):
    page = opened(size, "hide=saliency:net|image")
    expect(page.locator(".cell.cams canvas").first).to_be_attached()
    point_at(page, MASK, 0.5, 0.3)
    first = page.locator("#pointer .first")
    expect(first).to_contain_text("mask epsbird")
    expect(page.locator("#pointer")).to_contain_text("train_016, 7")
    expect(page.locator("#pointer")).to_contain_text("truthbird")
    assert page.locator(".row.pointed .cross:visible").count() >= 2
    point_at(page, MASK, 0.02, 0.9)
    expect(first).to_contain_text("mask epsbackground")
    point_at(page, ".cell.cams >> nth=0", 0.5, 0.7)
    expect(first).to_contain_text(re.compile(r"heat maps epsbird 0.00, .* 0.80, background 0.20"))


def test_one_heat_map_of_each_class(opened):
    page = opened()
    cell = page.locator(".cell.cams").first
    expect(cell.locator(".tile")).to_have_class("tile classes")
    cell.locator(".chip").nth(1).click()
    expect(cell.locator(".chip").nth(1)).to_have_attribute("aria-pressed", "true")
    expect(cell.locator(".tile")).to_have_class("tile heat")
    assert not page.locator("#zoom").is_visible()
    for pressed in ([False, False, True], [False, False, False], [True, False, False]):
        page.keyboard.press("c")
        for place, wanted in enumerate(pressed):
            expect(cell.locator(".chip").nth(place)).to_have_attribute("aria-pressed", str(wanted).lower())
    page.select_option("#class", label="dog")
    expect(page.locator(".cell.cams .tile.heat").first).to_be_attached()


# Keys and zoom


@both
def test_keys_move_the_active_picture(opened, size):
    page = opened(size)
    grid = page.locator("#scroller")
    expect(grid).to_be_focused()

    def active() -> str:
        page.wait_for_timeout(30)
        cell = page.locator(f"#{grid.get_attribute('aria-activedescendant')}")
        expect(cell).to_be_in_viewport()
        return cell.get_attribute("id")

    assert active() == "cell-0-0"
    for key, wanted in {
        "ArrowDown": "cell-1-0",
        "ArrowRight": "cell-1-1",
        "End": "cell-1-6",
        "Control+End": f"cell-{TRAIN - 1}-6",
        "ArrowUp": f"cell-{TRAIN - 2}-6",
        "ArrowLeft": f"cell-{TRAIN - 2}-5",
        "Home": f"cell-{TRAIN - 2}-0",
        "Control+Home": "cell-0-0",
    }.items():
        page.keyboard.press(key)
        assert active() == wanted, key
    page.keyboard.press("PageDown")
    assert int(active().split("-")[1]) >= 2
    page.keyboard.press("?")
    expect(page.locator("#help")).to_be_visible()
    page.keyboard.press("Escape")
    page.keyboard.press("/")
    expect(page.locator("#find")).to_be_focused()
    page.keyboard.type("e")  # a letter, and no key of the page
    expect(page.locator("#errors")).to_have_attribute("aria-pressed", "false")


@both
def test_zoom(opened, size):
    page = opened(size)
    page.locator(".row").nth(1).locator(".cell.image .frame").click()
    zoom, factor, told = page.locator("#zoom"), page.locator("#zoom-factor"), page.locator("#zoom-pointer")
    expect(zoom).to_be_visible()
    expect(page.locator("#zoom-title")).to_have_text("train_1")
    assert page.locator("#zoom figure").count() == 7 and page.locator("#zoom canvas").count() == 6
    expect(told).to_contain_text(f"truth{NASTY}")
    page.keyboard.press("+")
    expect(factor).to_have_text("150 %")
    page.click("#zoom-in")
    expect(factor).to_have_text("225 %")
    page.locator("#zoom-tiles").focus()
    page.keyboard.press("Shift+ArrowLeft")
    expect(told).to_contain_text("6, 12")
    page.keyboard.press("ArrowUp")
    expect(told).to_contain_text("6, 11")
    page.keyboard.press("0")
    expect(factor).to_have_text("100 %")
    box = page.locator("#zoom figure .frame").first.bounding_box()
    page.mouse.move(box["x"] + 0.25 * box["width"], box["y"] + 0.3 * box["height"])
    expect(told).to_contain_text("8, 7")
    page.mouse.wheel(0, -400)
    expect(factor).to_have_text("272 %")
    expect(told).to_contain_text("8, 7")  # the point stays below the pointer
    page.mouse.move(box["x"] + 0.25 * box["width"] + 1, box["y"] + 0.3 * box["height"])
    expect(told).to_contain_text("8, 7")
    page.mouse.down()
    page.mouse.move(box["x"] + 0.9 * box["width"], box["y"] + 0.3 * box["height"], steps=3)
    page.mouse.up()
    page.mouse.move(box["x"] + 0.25 * box["width"], box["y"] + 0.3 * box["height"])
    expect(told).to_contain_text(re.compile(r"train_1[0-2], 7"))  # dragged to the left border of the image
    page.keyboard.press("n")
    expect(page.locator("#zoom-title")).to_have_text("train_2")
    page.click("#zoom-previous")
    expect(page.locator("#zoom-title")).to_have_text("train_1")
    page.keyboard.press("Escape")
    expect(zoom).to_be_hidden()
    expect(page.locator("#scroller")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#zoom-title")).to_have_text("train_1")
    page.click("#zoom-close")
    expect(zoom).to_be_hidden()


# For everybody


def luminance(colour: str) -> float:
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_text_stands_out_from_its_ground():
    """Contrast of WCAG 2.1, level AA, in both colour schemes."""
    style = (SOURCES / "workflow_scripts/look/gallery/page/gallery.css").read_text()
    schemes = [
        dict(re.findall(r"--([\w-]+): (#\w{6})", part)) for part in re.findall(r":root \{(.*?)\}", style, re.DOTALL)
    ]
    assert len(schemes) == 2
    pairs = [(ink, ground) for ink in ("ink", "faint", "accent") for ground in ("paper", "panel")]
    for colours in schemes:
        for ink, ground in [*pairs, ("on-accent", "accent")]:
            low, high = sorted((luminance(colours[ink]), luminance(colours[ground])))
            assert (high + 0.05) / (low + 0.05) >= 4.5, (ink, ground, colours)


def test_no_two_of_coco_s_classes_look_alike(opened):
    """Colours repeat after seven; then the pattern differs."""
    page = opened()
    script = """() => Array.from({length: 80}, (_, place) => {
        const canvas = document.createElement('canvas');
        canvas.width = canvas.height = 48;
        const data = {classes: Array(80).fill(''), palette: [[0, 0, 0], [1, 1, 1]]};
        coloursOf.clear();
        drawLabels(canvas, new Uint8Array(4).fill(place + 1), [2, 2], data, true);
        return canvas.toDataURL();
    })"""
    assert len(set(page.evaluate(script))) == 80


def test_every_control_has_a_name(opened):
    page = opened()
    page.locator(".row").first.locator(".frame").first.click()
    script = """() => [...document.querySelectorAll('button, select, input')].filter((it) =>
        !(it.textContent.trim() || it.getAttribute('aria-label') || it.closest('label')?.textContent.trim())).map((it) => it.outerHTML)"""
    assert page.evaluate(script) == []
    assert page.locator("#zoom [role=img]:not([aria-label])").count() == 0
    expect(page.locator(".cell:has(canvas):not([aria-label])")).to_have_count(0)  # once they are drawn
