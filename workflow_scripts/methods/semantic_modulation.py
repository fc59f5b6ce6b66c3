"""Semantic modulation (Li et al., Journal of Software 2025): similar patches correct what a class pays attention to."""

import torch
from torch import Tensor
from torch.nn.functional import embedding_bag


def modulate(class_attention: Tensor, patch_attention: Tensor, fraction: float = 0.3, alpha: float = 1.2) -> Tensor:
    """Add to the class's attention to a patch the mean of its attention to the patches related to that one (Eqs. 3, 4).

    Related to a patch are those it attends to most, itself among them where it is one of these; all means are of the
    attention as given. Memory grows with N^2, as the attention itself, whatever the number of classes.

    Args:
        class_attention: (B, C, N).
        patch_attention: (B, N, N), row = query.
        fraction: share of the N patches that are related; at least one is. Published: 0.3.
        alpha: of the mean. Published: 1.2; 0 gives `class_attention`.

    Returns:
        (B, C, N).
    """
    batch, classes, count = class_attention.shape
    chosen = max(1, round(fraction * count))
    related = patch_attention.topk(chosen, dim=-1, sorted=False).indices
    related = related + count * torch.arange(batch, device=related.device)[:, None, None]
    table = class_attention.transpose(1, 2).reshape(batch * count, classes)
    mean = embedding_bag(related.reshape(batch * count, chosen), table, mode="mean")
    return class_attention + alpha * mean.reshape(batch, count, classes).transpose(1, 2)
