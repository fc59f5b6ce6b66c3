"""Training samples of IRN: image and label map at image size, rescaled, mirrored and cropped together."""

from workflow_scripts.data.index import Images, Index
from workflow_scripts.data.samples.segmentation_samples import SegmentationSamples


class Samples(SegmentationSamples):
    """As those of segmentation; the labels do not follow the backbone's stride."""

    schema = "affinity_labels"

    def __init__(self, index: Index, images: Images, split: str, recipe, seed: int, labels: str, stride: int):
        super().__init__(index, images, split, recipe, seed, labels)
