"""Losses that saliency networks share."""

from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits


def cross_entropy_and_iou(logits: Tensor, masks: Tensor) -> dict[str, Tensor]:
    """Cross entropy and soft intersection over union, to be summed; both arguments (B, 1, H, W), masks in [0, 1]."""
    logits = logits.float()
    return {"saliency": binary_cross_entropy_with_logits(logits, masks), "iou": iou_loss(logits, masks)}


def iou_loss(logits: Tensor, masks: Tensor) -> Tensor:
    """1 - the soft intersection over union of each image, averaged (BASNet, Qin et al., CVPR 2019, Eq. 8).

    Args:
        logits: (B, 1, H, W).
        masks: (B, 1, H, W) in [0, 1].
    """
    probabilities = logits.sigmoid()
    both = (probabilities * masks).sum(dim=(1, 2, 3))
    return (1 - both / (probabilities + masks - probabilities * masks).sum(dim=(1, 2, 3))).mean()
