"""Pack the predictions of splits without public truth as the evaluation server of PASCAL VOC takes them.

The archive holds results/VOC2012/Segmentation/comp6_test_cls/{id}.png, palette images of VOC's class ids. comp6 is the
competition that allows data other than VOC's, as the initial weights are trained on ImageNet.
"""

import gzip
import io
import tarfile
from collections.abc import Iterator

import numpy as np

from workflow_scripts.base.plugins import plugin
from workflow_scripts.base.progress import progress
from workflow_scripts.data.index import read_index
from workflow_scripts.data.maps import label_map
from workflow_scripts.look.pictures import label_png
from workflow_scripts.run.command import Job, run
from workflow_scripts.store.artifacts import Reader, replaced

FOLDER = "results/VOC2012/Segmentation/comp6_test_cls"


def main(job: Job) -> None:
    settings = job.settings
    index = read_index(job.inputs.index, settings.dataset)
    predictions = Reader(job.inputs.predictions, "prediction", settings.dataset)
    ids = index.split(*settings.splits)
    source_ids = np.zeros(256, np.uint8)
    for source, number in plugin("data.readers", "voc_masks").mask_ids(settings.classes).items():
        source_ids[number] = source

    def files() -> Iterator[tuple[str, bytes]]:
        for identifier in progress(sorted(ids), len(ids), "submission"):
            label = label_map(predictions.read(identifier), index.size_of(identifier))
            yield f"{FOLDER}/{identifier}.png", label_png(source_ids[label])

    with replaced(job.outputs.submission) as temporary, open(temporary, "wb") as file:
        # No names, no times: equal predictions are equal bytes.
        with gzip.GzipFile(filename="", fileobj=file, mode="wb", mtime=0) as packed:
            with tarfile.open(fileobj=packed, mode="w", format=tarfile.USTAR_FORMAT) as archive:
                for name, content in files():
                    about = tarfile.TarInfo(name)
                    about.size = len(content)
                    archive.addfile(about, io.BytesIO(content))


if __name__ == "__main__":
    run(main, inputs=("index", "predictions"), outputs=("submission",))
