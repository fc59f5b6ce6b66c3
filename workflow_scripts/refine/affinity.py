"""Affinities between nearby positions of a feature map: AffinityNet's labels, affinities and loss, IRN's edge affinity.

Sources: AffinityNet (Ahn and Kwak, CVPR 2018) and IRN (Ahn et al., CVPR 2019) with their published code.

A pair joins a position, `from`, with a later one in raster order, `to`, at a distance below `radius`. With K offsets
(34 for radius 5) and P `from` positions every pair tensor is (..., K, P).

Borders: "published" leaves out the first and last `radius - 1` columns and the last `radius - 1` rows as `from`
positions, as the published code does, so that every pair lies inside the map; positions near the border lose
neighbours, and a map that is too small has no pairs (P = 0). "padded" starts a pair at every position (P = h * w);
pairs that leave the map are there in shape only: index -1, no label, affinity 0.
"""

import functools
import math

import torch
import torch.nn.functional as F
from torch import Tensor

EPSILON = 1e-5  # inside the logarithms and the denominators of the published loss


def pair_offsets(radius: int) -> list[tuple[int, int]]:
    """Offsets (dy, dx) from a position to its later neighbours nearer than `radius`, in raster order."""
    reach = range(1 - radius, radius)
    return [
        (dy, dx) for dy in range(radius) for dx in reach if (dy, dx) > (0, 0) and dy * dy + dx * dx < radius * radius
    ]


def pad_border(field: Tensor, radius: int, border: str, outside: float) -> Tensor:
    """Surround a map (..., h, w) with what its pairs see: unchanged for "published", else left, right and below
    `radius - 1` positions of the value `outside`."""
    if border == "published":
        return field
    if border == "padded":
        margin = radius - 1
        return F.pad(field, (margin, margin, 0, margin), value=outside)
    raise ValueError(f"border is {border!r}, expected 'published' or 'padded'")


def shifted(field: Tensor, offset: tuple[int, int], radius: int) -> Tensor:
    """View of the `from` positions of a map (..., h, w), each moved by `offset`: (..., h - margin, w - 2 margin)
    with margin = radius - 1, empty where the map is too small."""
    dy, dx = offset
    margin = radius - 1
    height, width = max(field.shape[-2] - margin, 0), max(field.shape[-1] - 2 * margin, 0)
    return field[..., dy : dy + height, margin + dx : margin + dx + width]


def _pairs(field: Tensor, radius: int) -> tuple[Tensor, Tensor]:
    """Values of an already padded map (..., h, w) at both ends of all pairs: (..., 1, P) and (..., K, P)."""
    to = [shifted(field, offset, radius).flatten(-2) for offset in pair_offsets(radius)]
    return shifted(field, (0, 0), radius).flatten(-2).unsqueeze(-2), torch.stack(to, dim=-2)


def pair_indices(radius: int, height: int, width: int, border: str = "published") -> tuple[Tensor, Tensor]:
    """Flat indices of the pairs of a (height, width) map.

    Returns:
        `from` (P,) and `to` (K, P), int64. With border "padded" `to` is -1 where it leaves the map.
    """
    index = torch.arange(height * width).view(height, width)
    start, to = _pairs(pad_border(index, radius, border, -1), radius)
    return start.squeeze(0), to


def pair_labels(label: Tensor, radius: int = 5, border: str = "published") -> tuple[Tensor, Tensor, Tensor]:
    """What the pairs of a label map are: three disjoint masks; pairs with an unknown end are in none of them.

    Args:
        label: (h, w) or (B, h, w), uint8, 0 = background, 255 = unknown.

    Returns:
        Background (both 0), foreground (equal, not 0) and negative (different), each (K, P) or (B, K, P) bool.
    """
    start, to = _pairs(pad_border(label, radius, border, 255), radius)
    known = (start != 255) & (to != 255)
    equal = known & (start == to)
    return equal & (start == 0), equal & (start != 0), known & (start != to)


def pair_affinity(features: Tensor, radius: int = 5, distance: str = "mean", border: str = "published") -> Tensor:
    """Affinity exp(-distance) of all pairs (AffinityNet, Section 3.2).

    Args:
        features: (B, D, h, w).
        distance: absolute difference averaged over the D channels ("mean", the published code) or added up ("sum", the
            paper).

    Returns:
        (B, K, P) in (0, 1], 1 for equal features, and 0 for the pairs that leave the map.
    """
    reduce = {"mean": torch.mean, "sum": torch.sum}.get(distance)
    if reduce is None:
        raise ValueError(f"distance is {distance!r}, expected 'mean' or 'sum'")
    field = pad_border(features, radius, border, math.inf)  # infinitely far away: affinity 0
    start = shifted(field, (0, 0), radius)
    # One offset at a time: no tensor of D x K x P values when no gradient is asked for.
    distances = [reduce((start - shifted(field, o, radius)).abs(), dim=1).flatten(1) for o in pair_offsets(radius)]
    return torch.exp(-torch.stack(distances, dim=1))


def affinity_loss(
    affinity: Tensor,
    background: Tensor,
    foreground: Tensor,
    negative: Tensor,
    whole: tuple[Tensor, Tensor, Tensor] | None = None,
) -> Tensor:
    """Balanced cross entropy of pair affinities (AffinityNet, Section 3.2): L_bg / 4 + L_fg / 4 + L_neg / 2, each a
    mean over its pairs in the whole batch.

    Args:
        affinity: (B, K, P) in [0, 1].
        background, foreground, negative: (B, K, P), masks of `pair_labels`.
        whole: these masks of the batch that this is one of the equal parts of; the mean over the parts is then that
            batch's loss.

    Returns:
        Scalar. An affinity of exactly 1 makes the positive parts slightly negative (-1e-5), as published.
    """
    together, apart = -torch.log(affinity + EPSILON), -torch.log(1 + EPSILON - affinity)

    masks = background, foreground, negative
    share = 1 if whole is None else len(negative) / len(whole[2])

    def mean(loss: Tensor, mask: Tensor, counted: Tensor) -> Tensor:
        return (loss * mask).sum() / ((counted.sum() + EPSILON) * share)

    means = map(mean, (together, together, apart), masks, whole or masks)
    return sum(one * weight for one, weight in zip(means, (1 / 4, 1 / 4, 1 / 2), strict=True))


def line_offsets(offset: tuple[int, int]) -> list[tuple[int, int]]:
    """Positions that a pair's line passes, both ends included: those in the bounding box of the ends that are nearer
    than one position to the line (IRN's published code)."""
    dy, dx = offset
    rows, columns = range(dy + 1), range(min(0, dx), max(0, dx) + 1)
    return [(y, x) for y in rows for x in columns if (dy * x - dx * y) ** 2 < dy * dy + dx * dx]


def pair_edge_affinity(edge: Tensor, radius: int = 10, border: str = "published") -> Tensor:
    """Affinity of all pairs from class boundaries: 1 - the highest edge on the line between the ends (IRN, Section 4).

    Args:
        edge: (B, 1, h, w), edge probability in [0, 1].

    Returns:
        (B, K, P) in [0, 1]; 0 for the pairs that leave the map.
    """
    field = pad_border(edge.squeeze(1), radius, border, 1.0)
    highest = [
        functools.reduce(torch.maximum, (shifted(field, step, radius) for step in line_offsets(offset)))
        for offset in pair_offsets(radius)
    ]
    return 1 - torch.stack([one.flatten(1) for one in highest], dim=1)
