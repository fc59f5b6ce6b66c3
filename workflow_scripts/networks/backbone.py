"""What backbones share: five feature maps, and parts that stay as they are."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from workflow_scripts.networks.torchvision_weights import published_state


class FeaturePyramid(nn.Module):
    """A network with `pyramid(images)`, five feature maps of rising depth from stride 2 on, `pyramid_channels` and `stride`.

    Batch normalisation that is to keep its initial statistics stays in evaluation mode, whatever `train()` says: with
    small batches they are better than the batch's own.
    """

    kept: Sequence[nn.Module] = ()
    ignored: Any = ()  # begins of names of foreign layers that it does not have
    renames: Any = ()  # foreign names of its layers, see data/layer_names.py
    wrappers: tuple[str, ...] = ()  # begins of its layers' names in its authors' files of whole networks
    unused: tuple[str, ...] = ()  # begins of names in such files under which they hold its layers once more
    torchvision: Any = (
        None  # the member of its WeightsEnum there that `imagenet` loads; not imported here, which costs a second
    )

    def freeze(self, stages: Sequence[nn.Module], frozen_stages: int, batch_norm: str) -> None:
        """Keep the first stages, and with `batch_norm` "frozen" all batch normalisation, as they are."""
        for stage in stages[:frozen_stages]:
            stage.requires_grad_(False)
        whole = [self] if batch_norm == "frozen" else stages[:frozen_stages]
        self.kept = [module for part in whole for module in part.modules() if isinstance(module, nn.BatchNorm2d)]
        for module in self.kept:
            module.requires_grad_(False)
        self.train(self.training)

    def train(self, mode: bool = True):
        super().train(mode)
        for module in self.kept:
            module.eval()
        return self

    def forward(self, images: Tensor) -> Tensor:
        return self.pyramid(images)[-1]

    def imagenet(self) -> dict[str, Tensor]:
        """torchvision's ImageNet weights, downloaded with its own checksum on first use."""
        return published_state(self.torchvision)

    @property
    def pyramid_strides(self) -> tuple[int, ...]:
        """Pixels per cell of the maps of `pyramid`."""
        return tuple(min(2**depth, self.stride) for depth in range(1, 6))

    @property
    def tap_channels(self) -> tuple[int, ...]:
        return self.pyramid_channels[2:]

    def taps(self, images: Tensor) -> list[Tensor]:
        """Three feature maps of rising depth at the backbone's stride, for stride 8."""
        return self.pyramid(images)[2:]
