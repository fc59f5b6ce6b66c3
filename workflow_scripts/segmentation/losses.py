"""Cross entropy on a label map of another size than the logits."""

from torch import Tensor
from torch.nn.functional import cross_entropy, interpolate


def label_loss(
    logits: Tensor, label: Tensor, loss_at: str, align_corners: bool, whole_label: Tensor | None = None
) -> Tensor:
    """Mean cross entropy over the pixels that are not 255; 0 where all are.

    Args:
        logits: (B, L, h, w).
        label: int64 (B, H, W), 255 is ignored.
        loss_at: "labels", logits are up-sampled bilinearly; or "logits", labels are sampled at the cells' centres, as
            DeepLab was trained.
        align_corners: of the up-sampling.
        whole_label: of the batch that this is one of the equal parts of; the mean over the parts is then that batch's loss.
    """
    whole = label if whole_label is None else whole_label
    if loss_at == "logits":
        label, whole = _sampled(label, logits), _sampled(whole, logits)
    else:
        logits = interpolate(logits, size=label.shape[-2:], mode="bilinear", align_corners=align_corners)
    known = (whole != 255).sum().clamp(min=1) * (len(label) / len(whole))
    return cross_entropy(logits, label, ignore_index=255, reduction="sum") / known


def _sampled(label: Tensor, logits: Tensor) -> Tensor:
    return interpolate(label[:, None].float(), size=logits.shape[-2:], mode="nearest-exact")[:, 0].long()
