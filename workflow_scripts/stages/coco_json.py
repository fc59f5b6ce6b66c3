"""Instances in one JSON file as COCO has them, for other tools: polygons are none, masks are run-length encoded."""

import json
from collections.abc import Iterator

from pycocotools import mask as rle

from workflow_scripts.base.plugins import plugin
from workflow_scripts.base.progress import progress
from workflow_scripts.data.coco_regions import as_text, file_names, image_entry, image_numbers
from workflow_scripts.data.index import read_index
from workflow_scripts.data.instances import UNRELIABLE, Instances
from workflow_scripts.run.command import Job, run
from workflow_scripts.store.artifacts import Reader, replaced


def main(job: Job) -> None:
    settings = job.settings
    index = read_index(job.inputs.index, settings.dataset)
    reader = Reader(job.inputs.instances, "instances", settings.dataset)
    # In the order of the index, which is that of the data set's lists.
    ids = sorted(reader.ids, key=index.row.__getitem__)
    kind, ours = plugin("data.kinds", settings.kind), range(1, len(index.classes) + 1)
    categories = kind.category_ids(index.classes) if hasattr(kind, "category_ids") else ours
    numbers = dict(zip(ids, image_numbers(ids), strict=True))
    named = [{"id": number, "name": name} for number, name in zip(categories, index.classes, strict=True)]
    with replaced(job.outputs.annotations) as temporary, open(temporary, "w", encoding="utf-8") as file:
        file.write(f'{{"categories": {json.dumps(named)},\n"images": [')
        names = file_names(index)
        images = (image_entry(index, identifier, numbers[identifier], names[identifier]) for identifier in ids)
        file.write(",\n".join(map(json.dumps, images)))
        file.write('],\n"annotations": [')
        count = 0
        for identifier in progress(ids, len(ids), "COCO JSON"):
            instances = Instances.from_arrays(reader.read(identifier))
            for item in annotations(instances, index.size_of(identifier)):
                about = {"id": count + 1, "image_id": numbers[identifier], "category_id": categories[item.pop("class")]}
                file.write((",\n" if count else "") + json.dumps(about | item))
                count += 1
        file.write("]}\n")
    print(f"{len(ids)} images, {count} instances")


def annotations(instances: Instances, size: tuple[int, int]) -> Iterator[dict]:
    """Annotations of one image, `class` 0-based in place of a category.

    Where pixels of a box are unreliable, they are the runs `unreliable`, which COCO does not have: a loss leaves them
    out. A box of which nothing is known has an empty segmentation.
    """
    masks, doubtful = instances.encoded(*size), instances.encoded(*size, value=UNRELIABLE)
    for row, (mask, unknown) in enumerate(zip(masks, doubtful, strict=True)):
        x0, y0, x1, y1, label = (float(value) for value in instances.boxes[row])
        item = {"class": int(label), "bbox": [x0, y0, x1 - x0, y1 - y0], "segmentation": as_text(mask)}
        item["area"] = float(rle.area(mask)) if instances.areas is None else float(instances.areas[row])
        item["iscrowd"] = int(instances.crowd is not None and instances.crowd[row])
        if instances.scores is not None:
            item["score"] = float(instances.scores[row])
        yield item | ({"unreliable": as_text(unknown)} if rle.area(unknown) else {})


if __name__ == "__main__":
    run(main, inputs=("index", "instances"), outputs=("annotations",))
