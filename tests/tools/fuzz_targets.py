"""The readers that damaged files are tried on, each with small sound files of its kind."""

import io
import json
import shutil
import struct
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import h5py
import numpy as np
import torch
from PIL import Image
from safetensors.torch import save
from scipy.io import savemat
from scipy.sparse import csc_matrix
from torch import nn

from tests import imported_drawings as drawings
from tests.tools.mutations import Mutate, damaged, of_png, of_safetensors, of_zip, reworded
from workflow_scripts.commands.import_data import read as read_import
from workflow_scripts.commands.inspect import describe_weights
from workflow_scripts.config.layers import read_settings
from workflow_scripts.config.planning.sources import digest_of
from workflow_scripts.config.resolve import Config, merge
from workflow_scripts.config.yaml_files import read_yaml
from workflow_scripts.data.checkpoints.mxnet_params import read_params
from workflow_scripts.data.checkpoints.saliency_weights import load_published
from workflow_scripts.data.checkpoints.weights import load_weights
from workflow_scripts.data.coco_regions import region
from workflow_scripts.data.imports.rows import Wishes
from workflow_scripts.data.imports.source import Source
from workflow_scripts.data.index import Images, read_index, write_index
from workflow_scripts.data.index_entries import Entry, Faults
from workflow_scripts.data.kinds.coco import read_coco
from workflow_scripts.data.kinds.csv import read_csv, read_mask_paths
from workflow_scripts.data.kinds.voc import read_voc
from workflow_scripts.data.readers import brush_runs, coco_masks
from workflow_scripts.data.readers.archives import unpack
from workflow_scripts.data.readers.images import check_image, read_image, read_label_png, read_saliency
from workflow_scripts.data.readers.mask_folder import MaskFolder, open_masks
from workflow_scripts.data.readers.pascal_context import read_context, read_names
from workflow_scripts.data.readers.sbd import read_contours, read_instances, read_label_mat
from workflow_scripts.data.readers.voc_masks import mask_ids
from workflow_scripts.look.plots import read_curve
from workflow_scripts.store.artifacts import Reader, create
from workflow_scripts.store.provenance import parent_digests, read_sidecar, write_sidecar
from workflow_scripts.training.record import Record
from workflow_scripts.training.state import State

CLASSES = ("cat", "dog")
HEIGHT, WIDTH = 20, 30
ROOM = 1 << 20  # bytes that an archive may hold
XML = (
    "<annotation><size><width>30</width></size>{}</annotation>",
    "<object><name>{}</name><difficult>0</difficult><bndbox><xmin>6</xmin><ymin>6.5</ymin><xmax>19</xmax><ymax>13</ymax></bndbox></object>",
)
TABLE = 'id,image,labels,boxes,split\na,photo.png,cat;dog,"1 2 9 10 cat;2 2 20 15 dog",train\n'
TABLE += 'b,photo.png,dog,,val\n"c c",photo.png,cat,,train\n'
SETTINGS = '{"block":{"threshold":0.2},"dataset":"demo","splits":["train"]}'


@dataclass(frozen=True)
class Target:
    """A reader, the name that its file has, sound files, how they are damaged, and what else a message may name."""

    name: str
    read: Callable[[Path], object]
    file: str
    seeds: tuple[bytes, ...]
    mutate: Mutate = damaged
    told: tuple[str, ...] = ()
    bare: bool = False  # a library that is known to crash on some, and is reached behind a checksum


class Network(nn.Module):
    """Of few numbers."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 2, 3), nn.BatchNorm2d(2)


def targets(folder: Path, sources: Path) -> dict[str, Target]:
    """All readers; what they read beside the damaged file is written to `folder`.

    Args:
        sources: the folder of `config.yaml`.
    """
    made = [*_configuration(sources), *_pictures(folder), *_lists(folder), *_json(folder), *_hdf5(folder)]
    made += [*_weights(folder), *_matlab(), *_archives(folder), *_records(folder), *_imports(folder, sources)]
    return {target.name: target for target in made}


def _pixels(seed: int = 0, shape: tuple[int, ...] = (HEIGHT, WIDTH, 3)) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def _label() -> np.ndarray:
    label = np.zeros((HEIGHT, WIDTH), np.uint8)
    label[4:14, 4:20], label[5:13, 5:19] = 255, 1
    return label


def _encoded(image: np.ndarray | Image.Image, form: str, **options) -> bytes:
    content = io.BytesIO()
    (Image.fromarray(image) if isinstance(image, np.ndarray) else image).save(content, format=form, **options)
    return content.getvalue()


def _palette(label: np.ndarray) -> Image.Image:
    image = Image.fromarray(label)
    image.putpalette(np.repeat(np.arange(256, dtype=np.uint8), 3).tobytes())
    return image


def _imports(folder: Path, sources: Path) -> list[Target]:
    """Files of annotation tools, with the pictures that they name."""
    own = folder / "imported"  # apart from the other readers' folders
    drawings.draw(own)
    files = {
        "cvat": ("datumaro_cvat/train.xml", "datumaro_cvat/val.xml"),
        "voc": ("datumaro_voc/Annotations/b.xml",),
        "labelme": ("labelme/train/a.json", "labelme/val/c d.json"),
        "label-studio": ("label_studio/tasks.json", "label_studio/min.json"),
    }

    def reader(kind: str) -> Callable[[Path], object]:
        def read(path: Path) -> object:
            (own / path.name).write_bytes(path.read_bytes())
            return read_import(Source(own / path.name), kind, Wishes(), 1)

        return read

    return [
        Target(
            f"import_{kind}",
            reader(kind),
            f"a{Path(names[0]).suffix}",
            tuple((sources / "tests/imports" / name).read_bytes() for name in names),
            told=(str(own),),
        )
        for kind, names in files.items()
    ]


def _configuration(sources: Path) -> list[Target]:
    base = read_settings()
    base = {kind: {n: b for n, b in named.items() if "from_voc" not in n} for kind, named in base.items()}
    base |= {"tables": {}, "datasets": {"demo": base["datasets"]["demo"]}}  # planned in a tenth of the time
    mine = "datasets:\n  mine:\n    kind: csv\n    table: a.csv\n    classes: [cat, dog]\n    splits:\n      train: {ids: train}\n"
    mine += "      val: {ids: val}\n    use: {train: train, masks: val, evaluation: [val]}\n    seeds: [0]\n    torch_threads: 1\n"
    mine += "    workers: 1\n    gpus: 0\n    threshold: 0.20\n    montage: 6\n    gallery: {images: 20, side: 500}\n    systems: [cam]\n"
    block = "masks:\n  strict: &a {base: eps, threshold: 0.35} # a comment\n  other: {<<: *a, threshold: !!float 1}\nsystems:\n"
    block += "  strict: {mask: strict}\nclassifiers:\n  cam: {recipe: {iterations: 500, learning_rate: 1.0e-3, long_side: [200, 400]}}\n"

    def read(path: Path) -> Config:
        return Config(merge(base, read_yaml(path)))

    return [Target("config", read, "mine.yaml", (mine.encode(), block.encode()), reworded, ("config: ",))]


def _pictures(folder: Path) -> list[Target]:
    gray = _pixels(1, (HEIGHT, WIDTH))
    smooth = np.linspace(0, 255, HEIGHT * WIDTH * 3).reshape(HEIGHT, WIDTH, 3).astype(np.uint8)
    turned = Image.Exif()
    turned[0x0112] = 6  # orientation
    jpegs = (
        _encoded(smooth, "JPEG"),
        _encoded(smooth, "JPEG", progressive=True),
        _encoded(gray, "JPEG", optimize=True),
        _encoded(smooth, "JPEG", exif=turned),
    )
    pngs = (_encoded(smooth, "PNG"), _encoded(gray, "PNG"), _encoded(_palette(gray), "PNG", transparency=b"\xff" * 9))
    others = [_encoded(smooth, form) for form in ("BMP", "TIFF", "PPM", "WEBP", "GIF")]
    others += [_encoded(smooth, form, exif=turned) for form in ("TIFF", "WEBP")]
    others += [
        _encoded(smooth, form, save_all=True, append_images=[Image.fromarray(gray)]) for form in ("TIFF", "GIF", "WEBP")
    ]
    others += [_encoded(smooth, "TIFF", compression=name) for name in ("tiff_lzw", "tiff_deflate", "jpeg", "packbits")]
    labels = (
        _encoded(_palette(_label()), "PNG"),
        _encoded(_label(), "PNG"),
        _encoded(_palette(_label() & 1), "PNG", bits=1),
    )
    voc, size = mask_ids(CLASSES), (HEIGHT, WIDTH)

    def photograph(path: Path) -> None:
        height, width, *_ = check_image(path)
        assert read_image(path).shape == (height, width, 3)

    def corrected(path: Path) -> None:
        masks = MaskFolder(path.parent, CLASSES)
        masks.check_names(["a"], ["a"])
        assert masks.read("a", size).shape == size

    def exported(path: Path) -> None:
        masks = MaskFolder(path, CLASSES)
        masks.check_names(["a", "b"], ["a"])
        assert masks.read("a", size).shape == size

    (folder / "corrected").mkdir()
    exports = [
        {
            "labelmap.txt": b"# label:color_rgb:parts:actions\nbackground:0,0,0::\ncat:1,1,1::\ndog:2,2,2::\nignored:255,255,255::\n"
        },
        {},
    ]
    masks = {
        "SegmentationClass/a.png": labels[0],
        "SegmentationClass/b.png": labels[1],
        "ImageSets/default.txt": b"a\nb\n",
    }
    zips = tuple(_zipped(export | masks) for export in exports)
    return [
        Target("jpeg", photograph, "a.jpg", jpegs),
        Target("png", photograph, "a.png", pngs, of_png),
        Target("other_images", photograph, "a.tif", tuple(others)),
        Target("label_png", lambda path: read_label_png(path, {number: 1 for number in voc} | {1: 1}, 2), "a.png", labels, of_png),
        Target("saliency_png", read_saliency, "a.png", (*pngs, jpegs[0]), of_png),
        Target("corrected_png", corrected, "corrected/a.png", labels, of_png),
        Target("corrected_zip", exported, "masks.zip", zips, of_zip, ("labelmap.txt",)),
    ]  # fmt: skip


def _lists(folder: Path) -> list[Target]:
    (folder / "photo.png").write_bytes(_encoded(_pixels(), "PNG"))
    for part in ("JPEGImages", "Annotations"):
        (folder / part).mkdir()
    for name in ("a", "b", "c"):
        (folder / "JPEGImages" / f"{name}.jpg").write_bytes(_encoded(_pixels(), "JPEG"))
        (folder / "Annotations" / f"{name}.xml").write_text(XML[0].format(XML[1].format("cat")))
    (folder / "a.txt").write_text("a\n")
    two = XML[0].format(XML[1].format("cat") + XML[1].format("dog"))
    plain = XML[0].format(XML[1].format("cat"))
    listed = b"a\nb\n/JPEGImages/c.jpg /SegmentationClassAug/c.png\n\n"

    def table(path: Path) -> None:
        read_csv(path, CLASSES, {"train": "train", "val": "val"})
        read_mask_paths(path)

    return [
        Target("voc_xml", lambda path: read_voc(folder, CLASSES, {"train": "a.txt"}), "Annotations/a.xml",
               (plain.encode(), f'<?xml version="1.0" encoding="UTF-8"?>\n{two}'.encode()), reworded),
        Target("voc_list", lambda path: read_voc(folder, CLASSES, {"train": path.name}), "train.txt", (listed, b"b\r\na\r\n"),
               reworded, ("JPEGImages", "Annotations")),
        Target("csv", table, "a.csv", (TABLE.encode(), TABLE.replace("\n", "\r\n").encode("utf-8-sig")), reworded, (".png", "image")),
        Target("context_names", lambda path: read_names(folder), "labels.txt", (b"1: accordion\n2: aeroplane\n\n397: track\n",), reworded),
        Target("curve", read_curve, "a.curve.csv", (b"iteration,learning_rate,loss\n50,0.01,1.5\n100,0.001,0.25\n",), reworded),
    ]  # fmt: skip


def _json(folder: Path) -> list[Target]:
    (folder / "images").mkdir()
    for number in (1, 2):
        (folder / "images" / f"{number:012}.png").write_bytes(_encoded(_pixels(number), "PNG"))
    images = [{"id": n, "file_name": f"{n:012}.png", "height": HEIGHT, "width": WIDTH} for n in (1, 2)]
    about = {"image_id": 1, "category_id": 17, "bbox": [4, 5, 10, 8.5], "area": 80.5, "iscrowd": 0}
    polygon = [[4, 5, 14, 5, 14, 13.5, 4, 13]]
    runs = {"size": [HEIGHT, WIDTH], "counts": [100, 50, HEIGHT * WIDTH - 150]}
    text = region(_label() == 1)["segmentation"]
    annotations = [{"id": n, **about, "segmentation": part} for n, part in enumerate((polygon, polygon))]
    annotations += [
        {"id": 3, **about, "image_id": 2, "category_id": 18, "iscrowd": 1, "segmentation": runs},
        {"id": 4, **about, "image_id": 2, "category_id": 18, "segmentation": text},
    ]
    categories = [{"id": 17, "name": "cat", "supercategory": "animal"}, {"id": 18, "name": "dog"}]
    whole = {
        "info": {"year": 2014, "more": [1, {"a": None}]},
        "images": images,
        "annotations": annotations,
        "categories": categories,
    }
    runs_only = whole | {"annotations": annotations[2:3]}

    def read(path: Path) -> None:
        """The index, and the truth of what the index has accepted."""
        splits, entries = read_coco(folder, CLASSES, {"train": (path.name, "images")})
        write_index(str(folder / "coco.h5"), "coco", CLASSES, entries, splits)
        index = read_index(str(folder / "coco.h5"))
        about = {
            "root": str(folder),
            "files": [(path.name, "images")],
            "splits": ["train"],
            "maps": [],
            "crowd": "ignore",
            "overlap": "smaller",
        }
        truth = coco_masks.truth(SimpleNamespace(**about), index, Faults())
        instances = coco_masks.instances(SimpleNamespace(**about), index)
        for identifier in index.ids:
            assert truth(identifier)["label"].shape == index.size_of(identifier)
            found = instances(identifier)
            found.encoded(*index.size_of(identifier))
            found.arrays()

    seeds = tuple(json.dumps(item).encode() for item in (whole, runs_only))
    of_images = [
        Entry(f"{n:012}", f"images/{n:012}.png", HEIGHT, WIDTH, "0" * 64, (0,), np.zeros((0, 5))) for n in (1, 2)
    ]
    write_index(str(folder / "of_masks.h5"), "mine", CLASSES, of_images, {"all": [entry.id for entry in of_images]})

    def corrected(path: Path) -> None:
        """Masks of Label Studio or of COCO."""
        index = read_index(str(folder / "of_masks.h5"))
        masks = open_masks(path, index)
        masks.check_names(index.ids, [])
        for identifier in index.ids:
            assert identifier not in masks or masks.read(identifier, (HEIGHT, WIDTH)).shape == (HEIGHT, WIDTH)

    stroke = {"format": "rle", "rle": [*brush_runs.encode(_label() == 1)], "brushlabels": ["cat"]}
    stroke = {
        "type": "brushlabels",
        "original_width": WIDTH,
        "original_height": HEIGHT,
        "image_rotation": 0,
        "value": stroke,
    }
    tasks = [
        {
            "id": n,
            "data": {"image": f"/data/upload/{n:012}.png"},
            "annotations": [{"was_cancelled": False, "result": [stroke]}],
        }
        for n in (1, 2)
    ]
    return [
        Target("coco_json", read, "instances.json", seeds, reworded, ("image",)),
        Target("corrected_coco", corrected, "corrected.json", seeds, reworded),
        Target(
            "corrected_tasks",
            corrected,
            "tasks.json",
            (json.dumps(tasks).encode(), json.dumps(tasks[:1]).encode()),
            reworded,
        ),
    ]


def _hdf5(folder: Path) -> list[Target]:
    rng, about = np.random.default_rng(0), {"dataset": "demo", "split": "train", "classes": CLASSES}
    with create(folder / "cam.h5", "cam", **about) as artifact:
        for name in ("a", "b"):
            scores = rng.random((2, 20, 30)).astype(np.float16)
            artifact.put(name, classes=np.array([0, 1], np.int16), scores=scores, background=scores[0, :4, :5])
    entries = [
        Entry(name, f"{name}.jpg", 20, 30, "0" * 64, (0, 1), np.zeros((2, 5), np.float32)) for name in ("a", "b")
    ]
    write_index(folder / "index.h5", "demo", CLASSES, entries, {"train": ["a", "b"], "val": ["b"]})
    layers = {"conv/conv/kernel:0": (3, 3, 3, 2), "conv/conv/bias:0": (2,)}
    layers |= {f"norm/norm/{name}:0": (2,) for name in ("gamma", "beta", "moving_mean", "moving_variance")}
    with h5py.File(folder / "keras.h5", "w") as file:
        for name, shape in layers.items():
            file[f"model_weights/{name}"] = np.ones(shape, np.float32)

    def artifact(path: Path) -> None:
        reader = Reader(path, "cam", "demo")
        assert set(reader.attributes) >= {"images", "classes"}
        for name in reader.ids:
            reader.read(name)

    def index(path: Path) -> None:
        found = read_index(str(path), "demo")
        for name in found.split(*found.splits):
            assert np.isfinite(found.boxes_of(name)).all() and len(found.size_of(name)) == 2
            assert all(0 <= label < len(found.classes) for label in found.classes_of(name))
        Images(found, None)

    def as_stages(read: Callable[[Path], None], name: str) -> Callable[[Path], None]:
        """Behind the sidecar of the sound file, which is compared first."""
        shutil.copyfile(folder / f"{name}.h5.json", folder / f"damaged_{name}.h5.json")

        def behind(path: Path) -> None:
            parent_digests([str(path)])
            read(path)

        return behind

    for name in ("cam", "index"):
        write_sidecar(str(folder / f"{name}.h5"), "cams", SETTINGS, "0" * 32, {}, 1.0, [])
    contents = {name: (folder / f"{name}.h5").read_bytes() for name in ("cam", "index", "keras")}
    return [
        Target("hdf5_artifact", as_stages(artifact, "cam"), "damaged_cam.h5", (contents["cam"],)),
        Target("hdf5_index", as_stages(index, "index"), "damaged_index.h5", (contents["index"],)),
        Target("hdf5_bare_artifact", artifact, "damaged.h5", (contents["cam"],), bare=True),
        Target("hdf5_bare_index", index, "damaged.h5", (contents["index"],), bare=True),
        Target("hdf5_keras", lambda path: load_published(Network(), str(path)), "damaged.h5", (contents["keras"],)),
    ]


def _weights(folder: Path) -> list[Target]:
    state, content = Network().state_dict(), []
    checkpoint = {"epoch": 3, "state_dict": state, "optimizer": {"state": {0: torch.zeros(2)}}}
    numbers = checkpoint | {"loss": np.float64(0.5)}  # which only the reader of saliency networks knows
    for item, new in ((state, True), (checkpoint, True), (state, False), (numbers, True)):
        buffer = io.BytesIO()
        torch.save(item, buffer, _use_new_zipfile_serialization=new)
        content.append(buffer.getvalue())
    path = folder / "saved.safetensors"
    saved = State(str(path), "one")
    step = SimpleNamespace(
        state_dict=lambda: {"network": state}, load_state_dict=lambda found: Network().load_state_dict(found["network"])
    )
    saved.save(2, step, Record())

    def resumed(path: Path) -> None:
        """What cannot be read is put aside, and the training begins anew."""
        assert State(str(path.with_suffix("")), "one").load(step, Record()) in (0, 2)

    return [
        Target(
            "safetensors", lambda path: load_weights(Network(), path), "a.safetensors", (save(state),), of_safetensors
        ),
        Target(
            "safetensors_inspect",
            lambda path: list(describe_weights(path)),
            "a.safetensors",
            (save(state),),
            of_safetensors,
        ),
        Target("pth", lambda path: load_weights(Network(), path), "a.pth", tuple(content[:3]), of_zip),
        Target("pth_saliency", lambda path: load_published(Network(), str(path)), "a.pth", tuple(content), of_zip),
        Target("mxnet_params", read_params, "a.params", (_mxnet(b"\xc9\xfa\x93\xf9"), _mxnet(b""))),
        Target("state", resumed, "a.safetensors.state", (saved.path.read_bytes(),), of_zip),
    ]


def _mxnet(magic: bytes) -> bytes:
    """Two arrays, with or without the magic number that later versions begin an array with."""
    parts = [struct.pack("<QQQ", 0x112, 0, 2)]
    for shape in ((2, 3), (4,)):
        if magic:
            parts.append(magic + struct.pack("<iI", 0, len(shape)) + struct.pack(f"<{len(shape)}q", *shape))
        else:
            parts.append(struct.pack("<I", len(shape)) + struct.pack(f"<{len(shape)}I", *shape))
        parts.append(struct.pack("<iii", 1, 0, 0) + np.ones(shape, "<f4").tobytes())
    names = [b"arg:conv1_weight", b"aux:norm_mean"]
    return b"".join([*parts, struct.pack("<Q", 2), *(struct.pack("<Q", len(name)) + name for name in names)])


def _matlab() -> list[Target]:
    def mat(content: Mapping, packed: bool) -> bytes:
        buffer = io.BytesIO()
        savemat(buffer, content, do_compression=packed)
        return buffer.getvalue()

    edges = np.empty((2, 1), object)
    edges[0, 0], edges[1, 0] = csc_matrix(_label() == 1), csc_matrix((HEIGHT, WIDTH))
    ids = {1: 1, 2: 2, 255: 2}
    truth = {"GTcls": {"Boundaries": edges, "Segmentation": _label(), "CategoriesPresent": np.array([1])}}
    instances = {"GTinst": {"Segmentation": (_label() == 1).astype(np.uint8), "Categories": np.array([[1]])}}
    context = {"LabelMap": _label().astype(np.uint16)}
    readers = {
        "sbd_mat": (truth, lambda path: read_label_mat(path, ids)),
        "sbd_contours": (truth, read_contours),
        "sbd_instances": (instances, lambda path: read_instances(path, ids).arrays()),
        "context_mat": (context, read_context),
    }
    return [
        Target(name, read, "a.mat", (mat(content, True), mat(content, False)))
        for name, (content, read) in readers.items()
    ]


def _zipped(files: Mapping[str, bytes]) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return content.getvalue()


def _archives(folder: Path) -> list[Target]:
    files = {"set/a.txt": b"a" * 2000, "set/b/c.bin": _pixels().tobytes(), "other/d.txt": b"d"}

    def tarred(mode: str, form: int = tarfile.PAX_FORMAT) -> bytes:
        content = io.BytesIO()
        with tarfile.open(fileobj=content, mode=mode, format=form) as archive:
            for name, data in files.items():
                about = tarfile.TarInfo(name)
                about.size, about.mtime = len(data), 1_300_000_000.5
                archive.addfile(about, io.BytesIO(data))
        return content.getvalue()

    def read(path: Path) -> None:
        assert set(unpack(path, folder / "unpacked", ["set"], ROOM)) >= {"set/a.txt"}

    tars = (tarred("w"), tarred("w", tarfile.GNU_FORMAT), tarred("w:gz"), tarred("w:bz2"), tarred("w:xz"))
    return [Target("zip", read, "a.zip", (_zipped(files),), of_zip), Target("tar", read, "a.tar", tars)]


def _records(folder: Path) -> list[Target]:
    artifact, source = folder / "eps.h5", folder / "source.jpg"
    artifact.write_bytes(b"maps")
    source.write_bytes(b"pixels")
    write_sidecar(str(artifact), "cams", SETTINGS, "0" * 32, {"results/demo/index.h5": "0" * 64}, 1.0, ["command"])
    known, manifest = folder / "results" / "known", folder / "unpacked.json"
    known.mkdir(parents=True)
    digest_of("known", [str(source)])
    listed = json.dumps({"files": {"a.jpg": [3, 1_300_000_000_000_000_000, "0" * 64]}})

    def sidecar(path: Path) -> None:
        assert read_sidecar(artifact) is None or parent_digests([str(artifact)])

    return [
        Target("sidecar", sidecar, "eps.h5.json", (Path(f"{artifact}.json").read_bytes(),), reworded, ("eps.h5",)),
        Target("sources", lambda path: digest_of("known", [str(source)]), "results/known/.sources.json",
               ((known / ".sources.json").read_bytes(),), reworded),
        Target("manifest", lambda path: digest_of("known", [str(folder / "unpacked" / "a.jpg")], [manifest]), "unpacked.json",
               (listed.encode(),), reworded),
    ]  # fmt: skip
