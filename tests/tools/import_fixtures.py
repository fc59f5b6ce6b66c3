"""Write the files of tests/imports by the annotation tools' own libraries, each in an environment of its own.

    python -m venv v && v/bin/pip install datumaro==1.13.12
    PYTHONPATH=tests v/bin/python tests/tools/import_fixtures.py datumaro tests/imports

Written so far with: datumaro 1.13.12 (CVAT's XML, VOC, COCO, YOLO of darknet and of Ultralytics), labelme 6.3.1 (its JSON),
label-studio-sdk 2.1.2 (JSON of a COCO file, brushes, JSON-MIN), ultralytics 8.4 (labels of a COCO file), pycocotools 2.0.11 (run lengths).
The tools need none of this again: the files are small and are kept.
"""

import json
import shutil
import sys
import tempfile
from pathlib import Path
from urllib.parse import unquote

import imported_drawings as drawings
import numpy as np


def of_datumaro(out: Path) -> None:
    from datumaro.components.annotation import Bbox, Mask, Polygon
    from datumaro.components.dataset import Dataset
    from datumaro.components.dataset_base import DatasetItem
    from datumaro.components.media import Image

    with tempfile.TemporaryDirectory() as name:
        drawings.draw(Path(name))
        label = drawings.CLASSES.index

        def items(boxes: bool = True, outlines: bool = True):
            for file, split in drawings.SPLITS.items():
                found = []
                if boxes:
                    for (x0, y0, x1, y1), one in drawings.BOXES.get(file, []):
                        found.append(Bbox(x0, y0, x1 - x0, y1 - y0, label=label(one)))
                if outlines:
                    found += [Polygon(points, label=label(one)) for points, one in drawings.POLYGONS.get(file, [])]
                    found += [Mask(mask, label=label(one)) for mask, one in drawings.MASKS.get(file, [])]
                picture = Image.from_file(str(Path(name) / file), size=drawings.SIZES[file])
                yield DatasetItem(Path(file).stem, subset=split, media=picture, annotations=found)

        for kind, parts in {
            "cvat": {},
            "coco_instances": {},
            "voc": {"outlines": False},
            "voc_segmentation": {"boxes": False},
            "yolo": {"outlines": False},
            "yolo_ultralytics": {"outlines": False},
        }.items():
            listed, options = list(items(**parts)), {}
            if kind == "voc_segmentation":  # as CVAT's "Segmentation mask 1.1": masks of everything, and colours
                colours = {"background": (0, 0, 0), "cat": (128, 0, 0), "dog": (0, 128, 0)}
                options = {
                    "label_map": {name: [colour, [], []] for name, colour in colours.items()},
                    "apply_colormap": True,
                }
                for item in listed:
                    for place, one in enumerate(item.annotations):
                        if isinstance(one, Polygon):
                            item.annotations[place] = Mask(outlined(one.points, item.media.size), label=one.label)
            data = Dataset.from_iterable(listed, categories=drawings.CLASSES)
            target = Path(tempfile.mkdtemp(dir=name))
            try:
                data.export(str(target), kind, save_media=True, **options)
            except Exception as error:  # a version may lack a format
                print(f"{kind}: {type(error).__name__}: {error}")
                continue
            keep(target, out / f"datumaro_{kind}")


def outlined(points: list[float], size: tuple[int, int]) -> np.ndarray:
    from pycocotools import mask as rle

    return rle.decode(rle.frPyObjects([points], *size))[..., 0].astype(bool)


def of_labelme(out: Path) -> None:
    from labelme import utils
    from labelme._label_file import write_label_file

    for file, (height, width) in drawings.SIZES.items():
        shapes = []

        def add(label, points, kind, mask=None, shapes=shapes):
            one = {"label": label, "points": points, "group_id": None, "description": ""}
            encoded = utils.img_arr_to_b64(mask.astype(np.uint8)) if mask is not None else None
            shapes.append(one | {"shape_type": kind, "flags": {}, "mask": encoded})

        for (x0, y0, x1, y1), label in drawings.BOXES.get(file, []):
            add(label, [[x0, y0], [x1, y1]], "rectangle")
        for points, label in drawings.POLYGONS.get(file, []):
            add(label, [points[place : place + 2] for place in range(0, len(points), 2)], "polygon")
        for mask, label in drawings.MASKS.get(file, []):
            rows, columns = np.nonzero(mask.any(axis=1))[0], np.nonzero(mask.any(axis=0))[0]
            (top, bottom), (left, right) = (int(rows[0]), int(rows[-1])), (int(columns[0]), int(columns[-1]))
            add(label, [[left, top], [right, bottom]], "mask", mask[top : bottom + 1, left : right + 1])
        target = out / "labelme" / drawings.SPLITS[file] / f"{Path(file).stem}.json"
        target.parent.mkdir(parents=True, exist_ok=True)
        write_label_file(str(target), shapes=shapes, image_path=file, image_height=height, image_width=width)


def of_label_studio(out: Path) -> None:
    from label_studio_sdk.converter import Converter, brush
    from label_studio_sdk.converter.imports.coco import convert_coco_to_ls

    folder = out / "label_studio"
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        source, made = Path(name, "coco.json"), Path(name, "tasks.json")
        document = coco()
        for one in document["annotations"]:
            if one["segmentation"]:  # of which the library would make a rectangle beside the polygon
                del one["bbox"]
        source.write_text(json.dumps(document))
        convert_coco_to_ls(str(source), str(made))
        tasks = json.loads(made.read_text())
        named = {unquote(task["data"]["image"].rpartition("=")[2]): task for task in tasks}
        for file in [
            file for file in drawings.SIZES if file not in named
        ]:  # the library leaves out what has no annotation
            tasks.append(
                {
                    "data": {"image": f"/data/local-files/?d={file}"},
                    "annotations": [{"result": [], "ground_truth": False}],
                }
            )
            named[file] = tasks[-1]
        for file, masks in drawings.MASKS.items():
            for mask, label in masks:
                height, width = mask.shape
                value = {"format": "rle", "rle": brush.mask2rle(mask.astype(np.uint8) * 255), "brushlabels": [label]}
                result = {
                    "id": "brush",
                    "type": "brushlabels",
                    "from_name": "brush",
                    "to_name": "image",
                    "value": value,
                }
                sizes = {"original_width": width, "original_height": height, "image_rotation": 0}
                named[file]["annotations"] = [{"ground_truth": False, "result": [result | sizes]}]
        for number, task in enumerate(tasks, start=1):
            task["id"] = number
            for one in task["annotations"]:
                one |= {"id": number, "completed_by": 1, "was_cancelled": False, "lead_time": 1.0}
                for place, result in enumerate(one["result"]):
                    result["id"] = f"{number}-{place}"  # random in the library
        (folder / "tasks.json").write_text(json.dumps(tasks, indent=1) + "\n")
        view = """<View><Image name="image" value="$image"/>
            <RectangleLabels name="label_rectangles" toName="image"><Label value="cat"/><Label value="dog"/></RectangleLabels>
            <PolygonLabels name="labelpolygons" toName="image"><Label value="cat"/><Label value="dog"/></PolygonLabels>
            <BrushLabels name="brush" toName="image"><Label value="cat"/><Label value="dog"/></BrushLabels></View>"""
        converter = Converter(view, name)
        converter.convert_to_json_min(str(folder / "tasks.json"), str(folder / "min"), is_dir=False)
        (minimal,) = (folder / "min").glob("*.json")
        minimal.rename(folder / "min.json")
        (folder / "min").rmdir()


def of_ultralytics(out: Path) -> None:
    from ultralytics.data.converter import convert_coco

    with tempfile.TemporaryDirectory() as name:
        annotations = Path(name, "annotations")
        annotations.mkdir()
        for split in ("train", "val"):
            (annotations / f"instances_{split}.json").write_text(json.dumps(coco(split)))
        for kind, segments in {"boxes": False, "polygons": True}.items():
            made = Path(name, kind)
            convert_coco(str(annotations), str(made), use_segments=segments, cls91to80=False)
            for text in sorted(made.rglob("*.txt")):
                target = out / f"ultralytics_{kind}" / "labels" / text.parent.name / text.name
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(text, target)


def of_pycocotools(out: Path) -> None:
    from pycocotools import mask as rle

    document = coco()
    for file, masks in drawings.MASKS.items():
        (image,) = (one["id"] for one in document["images"] if one["file_name"] == file)
        for mask, label in masks:
            runs = rle.encode(np.asfortranarray(mask, dtype=np.uint8))
            runs["counts"] = runs["counts"].decode("ascii")
            entry = {"id": 100, "image_id": image, "category_id": drawings.CLASSES.index(label) + 1, "iscrowd": 0}
            entry |= {"segmentation": runs, "area": int(rle.area(runs)), "bbox": rle.toBbox(runs).tolist()}
            document["annotations"].append(entry)
    (out / "pycocotools.json").write_text(json.dumps(document, indent=1) + "\n")


def coco(split: str = "") -> dict:
    """A document of COCO with the boxes and polygons of a split, or of all pictures."""
    images, annotations = [], []
    for number, (file, (height, width)) in enumerate(drawings.SIZES.items(), start=1):
        if split in ("", drawings.SPLITS[file]):
            images.append({"id": number, "file_name": file, "height": height, "width": width})
            objects = [(box, None, label) for box, label in drawings.BOXES.get(file, [])]
            for points, label in drawings.POLYGONS.get(file, []):
                x, y = points[::2], points[1::2]
                objects.append(((min(x), min(y), max(x), max(y)), points, label))
            for (x0, y0, x1, y1), points, label in objects:
                entry = {
                    "id": len(annotations) + 1,
                    "image_id": number,
                    "category_id": drawings.CLASSES.index(label) + 1,
                }
                entry |= {"bbox": [x0, y0, x1 - x0, y1 - y0], "area": (x1 - x0) * (y1 - y0), "iscrowd": 0}
                annotations.append(entry | {"segmentation": [points] if points else []})
    categories = [{"id": number, "name": name} for number, name in enumerate(drawings.CLASSES, start=1)]
    return {"info": {}, "images": images, "annotations": annotations, "categories": categories}


def keep(source: Path, target: Path) -> None:
    """Everything but pictures, which the tests draw; their places as a list."""
    shutil.rmtree(target, ignore_errors=True)
    pictures = []
    for path in sorted(source.rglob("*")):
        name = path.relative_to(source)
        if path.suffix in (".png", ".jpg") and "Segmentation" not in path.parent.name:
            pictures.append(name.as_posix())
        elif path.is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, target / name)
    (target / "pictures.list").write_text("\n".join(pictures) + "\n")


TOOLS = {"datumaro": of_datumaro, "labelme": of_labelme, "label_studio": of_label_studio}
TOOLS |= {"ultralytics": of_ultralytics, "pycocotools": of_pycocotools}

if __name__ == "__main__":
    TOOLS[sys.argv[1]](Path(sys.argv[2]))
