"""Archives as VOC, SBD and COCO publish theirs, with a handful of small images, and a server for them on this machine."""

import hashlib
import io
import json
import tarfile
import threading
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.io import savemat

HEIGHT, WIDTH = 20, 30
VOC, SBD = "VOCdevkit/VOC2012", "benchmark_RELEASE/dataset"
CAT, DOG = 8, 12  # ids of VOC

# Images of VOC: train and val with masks, the others with masks of SBD alone. SBD also has a mask of each of these two.
TRAIN, VAL, OTHERS, TEST = ["t1", "t2"], ["v1", "v2"], ["s1", "s2", "s3"], ["x1", "x2"]


def pixels(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)


def jpeg(seed: int) -> bytes:
    content = io.BytesIO()
    Image.fromarray(pixels(seed)).save(content, format="JPEG")
    return content.getvalue()


def voc_label(number: int) -> np.ndarray:
    """An object with a void border, as VOC draws them."""
    label = np.zeros((HEIGHT, WIDTH), np.uint8)
    label[4:14, 4:20] = 255
    label[5:13, 5:19] = (CAT, DOG)[number % 2]
    return label


def voc_object(number: int) -> np.ndarray:
    """The same object as the only one of its image."""
    label = voc_label(number)
    return np.where(np.isin(label, (0, 255)), label, 1).astype(np.uint8)


def sbd_label(number: int) -> np.ndarray:
    """An object without a border, a little larger."""
    label = np.zeros((HEIGHT, WIDTH), np.uint8)
    label[3:15, 3:21] = (CAT, DOG)[number % 2]
    return label


def png(label: np.ndarray) -> bytes:
    content = io.BytesIO()
    Image.fromarray(label).save(content, format="PNG")
    return content.getvalue()


def mat(label: np.ndarray) -> bytes:
    """As SBD's files: a struct GTcls with Boundaries, Segmentation and CategoriesPresent."""
    content = io.BytesIO()
    fields = {"Boundaries": np.zeros((20, 1)), "Segmentation": label, "CategoriesPresent": np.unique(label[label > 0])}
    savemat(content, {"GTcls": fields}, do_compression=True)
    return content.getvalue()


def inst(label: np.ndarray) -> bytes:
    """As SBD's files of instances: a struct GTinst, one object in each."""
    content = io.BytesIO()
    fields = {"Segmentation": (label > 0).astype(np.uint8), "Categories": np.array([[label.max()]])}
    savemat(content, {"GTinst": fields}, do_compression=True)
    return content.getvalue()


def annotation(number: int) -> bytes:
    box = "<xmin>6</xmin><ymin>6</ymin><xmax>19</xmax><ymax>13</ymax>"
    name = ("cat", "dog")[number % 2]
    return f"<annotation><object><name>{name}</name><bndbox>{box}</bndbox></object></annotation>".encode()


def voc_files() -> dict[str, bytes]:
    files = {
        f"{VOC}/ImageSets/Segmentation/train.txt": "\n".join(TRAIN).encode(),
        f"{VOC}/ImageSets/Segmentation/val.txt": "\n".join(VAL).encode(),
        f"{VOC}/ImageSets/Main/cat_train.txt": b"not wanted",
    }
    for number, identifier in enumerate([*TRAIN, *VAL, *OTHERS]):
        files[f"{VOC}/JPEGImages/{identifier}.jpg"] = jpeg(number)
        files[f"{VOC}/Annotations/{identifier}.xml"] = annotation(number)
        if identifier not in OTHERS:
            files[f"{VOC}/SegmentationClass/{identifier}.png"] = png(voc_label(number))
            files[f"{VOC}/SegmentationObject/{identifier}.png"] = png(voc_object(number))
    return files


def sbd_files() -> dict[str, bytes]:
    files = {f"{SBD}/train.txt": b"t1\ns1\nv1\n", f"{SBD}/val.txt": b"s2\ns3\n", f"{SBD}/img/s1.jpg": b"not wanted"}
    for number, identifier in enumerate([*TRAIN, *VAL, *OTHERS]):
        if identifier in ("t1", "v1", *OTHERS):
            files[f"{SBD}/cls/{identifier}.mat"] = mat(sbd_label(number))
            files[f"{SBD}/inst/{identifier}.mat"] = inst(sbd_label(number))
    return files


def test_files() -> dict[str, bytes]:
    files = {f"{VOC}/ImageSets/Segmentation/test.txt": "\n".join(TEST).encode()}
    return files | {f"{VOC}/JPEGImages/{identifier}.jpg": jpeg(20 + k) for k, identifier in enumerate(TEST)}


test_files.__test__ = False


def coco_files() -> tuple[dict[str, bytes], dict[str, bytes]]:
    """Images and annotations: categories 17 and 18 (cat, dog), an image without an object, a crowd."""
    images, annotations = {}, {}
    for split, count in (("train", 4), ("val", 2)):
        names = [f"COCO_{split}2014_{number:012}.jpg" for number in range(count)]
        images |= {f"{split}2014/{name}": jpeg(40 + k) for k, name in enumerate(names)}
        listed = [{"id": k, "file_name": n, "height": HEIGHT, "width": WIDTH} for k, n in enumerate(names)]
        objects = [instance(10 + k, k, (17, 18)[k % 2], (4, 5, 10, 8)) for k in range(count - (split == "train"))]
        content = {"info": {"year": 2014}, "images": listed, "licenses": [], "annotations": objects}
        content["categories"] = [{"id": 17, "name": "cat"}, {"id": 18, "name": "dog"}]
        annotations[f"annotations/instances_{split}2014.json"] = json.dumps(content).encode()
    return images, annotations | {"annotations/captions_train2014.json": b"not wanted"}


def instance(number: int, image: int, category: int, box: tuple, **more) -> dict:
    x, y, w, h = box
    polygon = [x, y, x + w, y, x + w, y + h, x, y + h]
    about = {"id": number, "image_id": image, "category_id": category, "bbox": list(box), "iscrowd": 0}
    return about | {"segmentation": [polygon], "area": w * h} | more


def write_tar(path: Path, files: Mapping[str, bytes], mode: str = "w") -> Path:
    with tarfile.open(path, mode) as archive:
        for name, content in files.items():
            about = tarfile.TarInfo(name)
            about.size, about.mtime = len(content), 1_300_000_000
            archive.addfile(about, io.BytesIO(content))
    return path


def write_zip(path: Path, files: Mapping[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name, (2014, 9, 1, 12, 0, 0)), content)
    return path


def checksum(path: Path, algorithm: str = "sha256") -> str:
    return f"{algorithm}:{hashlib.new(algorithm, path.read_bytes()).hexdigest()}"


class _Silent(SimpleHTTPRequestHandler):
    def log_message(self, *arguments) -> None:
        pass


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """The files of a folder over HTTP, on this machine alone; gives the address."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Silent, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
