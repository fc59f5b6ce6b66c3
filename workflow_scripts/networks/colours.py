"""Colours that a pretrained network expects, made from images as the readers normalise them."""

import torch
from torch import Tensor, nn

from workflow_scripts.data.transforms import MEAN, STANDARD_DEVIATION

CAFFE_MEAN = (104.008, 116.669, 122.675)  # blue, green, red; DeepLab, PSA's VGG, BANA


class Colours(nn.Module):
    """RGB with ImageNet mean 0 and deviation 1 -> the same, or, for "caffe", BGR in 0 to 255 less the mean."""

    def __init__(self, kind: str):
        super().__init__()
        self.kind = kind
        self.register_buffer("scale", 255 * torch.tensor(STANDARD_DEVIATION)[:, None, None], persistent=False)
        shift = 255 * torch.tensor(MEAN) - torch.tensor(CAFFE_MEAN).flip(0)
        self.register_buffer("shift", shift[:, None, None], persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        return (images * self.scale + self.shift).flip(1) if self.kind == "caffe" else images
