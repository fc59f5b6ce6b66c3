"""How fluid the gallery's page is: seconds to open it, frames of a scroll, seconds after a jump, in headless Chromium.

    python benchmarks/gallery.py [--images 2000] [--width 500] [--height 375] [--page results/voc/gallery/index.html]

Without --page a gallery is made first in a temporary folder: six columns of a hundred drawings, whose rows are repeated.
The page counts as open when all pictures in view are drawn. While it scrolls, every frame counts the pictures in view that
are still previews; a blank frame has a place without a row, that is without preview, id and scores. Exits with 1 where
opening takes more than two seconds or a frame is blank. Chromium is Debian's; a machine without a screen draws on its
processor.
"""

import argparse
import json
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from PIL import Image, ImageDraw
from playwright.sync_api import sync_playwright

from workflow_scripts.data.index import write_index
from workflow_scripts.data.index_entries import Entry
from workflow_scripts.run.command import Job
from workflow_scripts.stages import gallery
from workflow_scripts.store.artifacts import create

CLASSES = tuple(f"class {number}" for number in range(20))
LIMIT = 2.0  # seconds
DRAWN = 100  # different images
SPEED = 3000  # pixels a second, a fast wheel
COLUMNS = {
    "saliency": ("saliency", "net"),
    "cam": ("cams", "cam"),
    "cam_eps": ("cams", "eps"),
    "mask": ("masks", "cam"),
}
COLUMNS |= {"mask_eps": ("masks", "eps"), "mask_crf": ("masks", "eps_crf"), "truth": ("truth", "")}

# Counts pictures in view, and those that are not drawn; notes when all were for the first time.
WATCH = """
window.inView = () => {
  const box = document.getElementById('scroller')?.getBoundingClientRect();
  let all = 0, missing = 0;
  for (const tile of box ? document.querySelectorAll('.row .tile') : []) {
    const it = tile.getBoundingClientRect();
    if (it.bottom <= box.top + 60 || it.top >= box.bottom || it.right <= box.left || it.left >= box.right) continue;
    all++;
    missing += tile.classList.contains('waiting');
  }
  const rows = [...document.querySelectorAll('.row')].map((row) => row.getBoundingClientRect());
  const at = box ? [0.2, 0.5, 0.9].map((share) => box.top + 60 + share * (box.height - 60)) : [];
  const blank = !at.every((y) => rows.some((it) => it.top <= y && it.bottom >= y));
  return [all, missing, Number(blank)];
};
window.complete = (done) => requestAnimationFrame(() => {
  const [all, missing] = inView();
  if (all && !missing) done(performance.now());
  else complete(done);
});
complete((now) => { window.opened = now / 1000; });
"""
SCROLL = """([speed, seconds]) => new Promise((resolve) => {
  const scroller = document.getElementById('scroller'), frames = [];
  const start = performance.now();
  let before = start;
  const step = (now) => {
    frames.push([now - before, ...inView()]);
    before = now;
    scroller.scrollTop = speed * (now - start) / 1000;
    now - start < 1000 * seconds ? requestAnimationFrame(step) : resolve(frames);
  };
  requestAnimationFrame(step);
})"""
JUMP = """(share) => new Promise((resolve) => {
  const scroller = document.getElementById('scroller'), start = performance.now();
  scroller.scrollTop = share * (scroller.scrollHeight - scroller.clientHeight);
  requestAnimationFrame(() => complete((now) => resolve((now - start) / 1000)));
})"""


def drawing(random: np.random.Generator, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Some ellipses on a rough ground, and their label map."""
    noise = random.integers(60, 200, (height // 8 + 1, width // 8 + 1, 3), np.uint8)
    picture = Image.fromarray(noise).resize((width, height), Image.BICUBIC)
    label = Image.new("L", (width, height))
    for value in random.choice(len(CLASSES), random.integers(1, 4), replace=False):
        x, y = random.integers(0, width * 2 // 3), random.integers(0, height * 2 // 3)
        box = [x, y, x + random.integers(width // 6, width // 2), y + random.integers(height // 6, height // 2)]
        ImageDraw.Draw(picture).ellipse(box, fill=tuple(random.integers(0, 256, 3).tolist()))
        ImageDraw.Draw(label).ellipse(box, fill=int(value) + 1)
    return np.asarray(picture), np.asarray(label)


def make_gallery(folder: Path, images: int, height: int, width: int) -> Path:
    """Artifacts of drawings, and the gallery of them."""
    random, entries = np.random.default_rng(0), []
    kinds = {"images": "images"} | {kind: kind.partition("_")[0] for kind in COLUMNS}
    about = {"dataset": "drawn", "split": "all", "classes": CLASSES}
    opened = {kind: create(folder / f"{kind}.h5", schema, **about) for kind, schema in kinds.items()}
    stores = {kind: artifact.__enter__() for kind, artifact in opened.items()}
    for number in range(images):
        identifier = f"image_{number:06}"
        image, label = drawing(random, height, width)
        classes = np.setdiff1d(label, [0]).astype(np.int16) - 1
        entries.append(Entry(identifier, "", height, width, "0" * 64, tuple(classes.tolist()), np.zeros((0, 5))))
        stores["images"].put(identifier, image=image)
        soft = [Image.fromarray((label == value + 1).astype(np.float32)) for value in classes]
        scores = np.stack([np.asarray(one.resize((width // 8, height // 8), Image.BOX)) for one in soft])
        for kind, (stage, _) in COLUMNS.items():
            moved = np.roll(label, int(random.integers(-12, 13)), axis=1)
            if stage == "saliency":
                stores[kind].put(identifier, saliency=np.where(moved > 0, 230, 10).astype(np.uint8))
            elif stage == "cams":
                stores[kind].put(identifier, classes=classes, scores=scores.astype(np.float16))
            else:
                stores[kind].put(identifier, label=label if stage == "truth" else moved)
    for artifact in opened.values():
        artifact.__exit__(None, None, None)
    write_index(str(folder / "index.h5"), "drawn", CLASSES, entries, {"all": [entry.id for entry in entries]})
    columns = [
        SimpleNamespace(stage=stage, schema=kinds[kind], name=name, systems=[], refined=kind == "mask_crf", doubt=None)
        for kind, (stage, name) in COLUMNS.items()
        if kind != "truth"
    ]
    settings = {
        "dataset": "drawn",
        "columns": columns,
        "splits": ["all"],
        "images": None,
        "side": 500,
        "threshold": 0.3,
    }
    inputs = {name: str(folder / f"{name}.h5") for name in ("index", "images", "truth")}
    inputs |= {"artifacts": [str(folder / f"{kind}.h5") for kind in COLUMNS if kind != "truth"]}
    inputs |= {"thresholds": [], "doubts": []}
    outputs = {"page": str(folder / "gallery/index.html"), "listing": str(folder / "gallery/files.sha256")}
    gallery.main(Job(SimpleNamespace(**settings), SimpleNamespace(**inputs), SimpleNamespace(**outputs), 2, ""))
    return folder / "gallery/index.html"


def repeat_rows(page: Path, images: int) -> None:
    """Rows again and again under other numbers and ids, until there are so many."""
    files = page.parent / "files"
    told = json.loads((files / "data.js").read_text().removeprefix("gallery.data(").removesuffix(");\n"))
    drawn = len(told["rows"])
    for number in range(drawn, images):
        text = (files / f"rows/{number % drawn}.js").read_text()
        (files / f"rows/{number}.js").write_text(f"gallery.row({number},{text.partition(',')[2]}")
        told["rows"].append(told["rows"][number % drawn] | {"id": f"image_{number:06}"})
    (files / "data.js").write_text(f"gallery.data({json.dumps(told)});\n")


def measure(page_file: Path, seconds: float) -> dict:
    """Open the page, scroll it, jump in it."""
    with sync_playwright() as starter:
        browser = starter.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1600, "height": 900})
        page.add_init_script(WATCH)
        page.goto(page_file.resolve().as_uri())
        while (opened := page.evaluate("window.opened")) is None:
            time.sleep(0.05)
        frames = np.array(page.evaluate(SCROLL, [SPEED, seconds]))
        jumps = [page.evaluate(JUMP, share) for share in (1, 0.5, 0, 0.75, 0.25)]
        browser.close()
    return {
        "seconds to open": round(opened, 2),
        "frames while scrolling": len(frames),
        "frame, median ms": round(float(np.median(frames[:, 0])), 1),
        "frame, 95th percentile ms": round(float(np.percentile(frames[:, 0], 95)), 1),
        "pictures in view": round(float(frames[:, 1].mean()), 1),
        "of them still previews, percent": round(100 * float(frames[:, 2].sum() / frames[:, 1].sum()), 2),
        "blank frames": int(frames[:, 3].sum()),
        "seconds after a jump, median": round(statistics.median(jumps), 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--width", type=int, default=500)
    parser.add_argument("--height", type=int, default=375)
    parser.add_argument("--seconds", type=float, default=10, help="of scrolling")
    parser.add_argument("--page", type=Path, help="index.html of a gallery that is there")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        page = arguments.page
        if page is None:
            start = time.perf_counter()
            page = make_gallery(Path(folder), min(DRAWN, arguments.images), arguments.height, arguments.width)
            repeat_rows(page, arguments.images)
            files = [path.stat().st_size for path in page.parent.rglob("*") if path.is_file()]
            print(f"made in {time.perf_counter() - start:.0f} s, {len(files)} files, {sum(files) / 1e6:.0f} MB")
        found = measure(page, arguments.seconds)
    print(json.dumps(found, indent=1))
    sys.exit(1 if found["seconds to open"] > LIMIT or found["blank frames"] else 0)


if __name__ == "__main__":
    main()
