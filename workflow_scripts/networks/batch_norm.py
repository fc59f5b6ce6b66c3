"""Batch normalisation that keeps its initial statistics and affine values."""

from torch import nn


class KeepsBatchNorm(nn.Module):
    """A network whose batch normalisation stays frozen, whatever `train()` says, when `batch_norm` is "frozen".

    With small batches the statistics of a pretrained network are better than the batch's own.
    """

    def freeze_batch_norm(self, batch_norm: str) -> None:
        self.frozen = batch_norm == "frozen"
        if self.frozen:
            for module in self.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.requires_grad_(False)
        self.train(self.training)

    def train(self, mode: bool = True):
        super().train(mode)
        if getattr(self, "frozen", False):
            for module in self.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.eval()
        return self
