"""Random walk that spreads class scores along pair affinities: AffinityNet's (CVPR 2018) and IRN's (CVPR 2019).

The published walk squares a dense N x N transition matrix `log_steps` times. This one needs O(N * pairs) memory and a
few products of the sparse matrix with the scores. T is similar to a symmetric matrix with eigenvalues in [-1, 1], so
its power is a short Chebyshev series, T^n = sum_k P(|S_n| = k) T_k(T), S_n being the sum of n fair signs. What
follows the term sqrt(2 n ln(2 / error)) weighs less than `error` in all (Sachdeva and Vishnoi, Faster Algorithms via
Approximation Theory, 2014, Theorem 3.3): with 1e-10, 102 products in place of 256. No score moves by more than error
* sqrt(sum of all degrees) times the largest score, 1e-7 for 15,000 positions. The walk is in double precision:
float32 loses 1e-5 to 1e-4 in 256 steps.
"""

import contextlib
import math
import warnings
from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from workflow_scripts.refine.affinity import pad_border, pair_affinity, pair_edge_affinity, pair_offsets, shifted


def transition_matrix(
    affinity: Tensor, height: int, width: int, radius: int = 5, beta: float = 8, border: str = "published"
) -> Tensor:
    """Transposed transition matrix T' of a map: T_ij = A_ij^beta / sum_i A_ij^beta with A symmetric and A_ii = 1
    (AffinityNet, Section 3.3), so that every row of T' sums to 1 and positions without pairs keep their scores.

    Args:
        affinity: (K, P), affinity of every pair in [0, 1], with pairs as in `affinity.pair_indices` for this border.

    Returns:
        (N, N), N = height * width, float64, sparse (compressed rows), without explicit zeros.
    """
    offsets, margin = pair_offsets(radius), radius - 1
    vertices = height * width
    inside = pad_border(affinity.new_ones(height, width, dtype=torch.float64), radius, border, 0)
    # Weight of each position's neighbours in raster order: earlier ones, itself, later ones. No pair: weight 0.
    neighbours = inside.new_zeros(2 * len(offsets) + 1, *inside.shape)
    neighbours[len(offsets)] = 1
    pair_weights = affinity.view(len(offsets), *shifted(inside, (0, 0), radius).shape)
    for number, (offset, weight) in enumerate(zip(offsets, pair_weights, strict=True), start=1):
        weight = weight.double().pow(beta) * shifted(inside, offset, radius)
        shifted(neighbours[len(offsets) + number], (0, 0), radius).copy_(weight)
        shifted(neighbours[len(offsets) - number], offset, radius).copy_(weight)
    if border != "published":
        neighbours = neighbours[:, :height, margin : margin + width]
    neighbours = neighbours.div_(neighbours.sum(0)).permute(1, 2, 0).reshape(vertices, -1)

    later = [dy * width + dx for dy, dx in offsets]
    steps = torch.tensor([-step for step in reversed(later)] + [0] + later, dtype=torch.int32, device=affinity.device)
    present = neighbours != 0
    position = torch.arange(vertices, dtype=torch.int32, device=affinity.device)
    row_ends = present.sum(1).cumsum(0)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Sparse CSR tensor support is in beta")
        matrix = torch.sparse_csr_tensor(
            torch.cat([row_ends.new_zeros(1), row_ends]).int(),
            (position[:, None] + steps)[present],
            neighbours[present],
            (vertices, vertices),
            check_invariants=False,
        )
    if matrix.is_cuda or torch.backends.mkl.is_available():
        return matrix
    return matrix.to_sparse_coo()  # the only sparse product that every build of PyTorch has


def power_series(exponent: int, error: float = 1e-10) -> list[float]:
    """Chebyshev coefficients c_0, c_1, ... of x^exponent, cut where all that follow add up to less than `error`."""
    # c_k = P(|S| = k) with S the sum of `exponent` fair signs, exact in whole numbers.
    coefficients = [0.0] * (exponent + 1)
    for ones in range(exponent + 1):
        coefficients[abs(exponent - 2 * ones)] += math.comb(exponent, ones) / 2**exponent
    rest = 0.0
    while rest + coefficients[-1] < error:
        rest += coefficients.pop()
    return coefficients


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """PyTorch with one thread: a product takes half a millisecond, too short to share, and threads that wait for each
    other on a busy machine make it many times slower. Images are what to share among workers."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@torch.no_grad()
def propagate_pairs(
    scores: Tensor, affinity: Tensor, radius: int = 5, beta: float = 8, log_steps: int = 8, border: str = "published"
) -> Tensor:
    """Random walk of 2^log_steps steps along given pair affinities.

    Args:
        scores: (L, h, w), one map per label.
        affinity: (K, P), as `transition_matrix`; on the device of the scores.
        beta: power of the affinities; the higher, the more they are trusted.

    Returns:
        (L, h, w) = v T^(2^log_steps), of the scores' type, without gradient. Constant maps stay constant.
    """
    labels, height, width = scores.shape
    series = power_series(2**log_steps)
    with one_thread():
        matrix = transition_matrix(affinity, height, width, radius, beta, border)
        # The labels of a position lie together: the product reads whole rows.
        start = scores.double().reshape(labels, -1).t().contiguous()
        before, term = start, matrix @ start
        walked = series[0] * start + series[1] * term
        for coefficient in series[2:]:
            before, term = term, torch.addmm(before, matrix, term, beta=-1, alpha=2)
            if coefficient:  # every other one is 0
                walked.add_(term, alpha=coefficient)
    return walked.t().reshape(labels, height, width).to(scores.dtype)


@torch.no_grad()
def propagate(
    scores: Tensor,
    features: Tensor,
    radius: int = 5,
    beta: float = 8,
    log_steps: int = 8,
    distance: str = "mean",
    border: str = "published",
) -> Tensor:
    """AffinityNet's refinement of class scores (Section 3.3 of the paper).

    Args:
        scores: (L, h, w), background included, averaged to the resolution of the features.
        features: (D, h, w), output of the affinity network.
        distance: "mean" or "sum" over channels, as in `affinity.pair_affinity`.
        border: "published" (positions near the border lose neighbours) or "padded" (they keep all that exist).

    Returns:
        (L, h, w), as `propagate_pairs`. Maps of any size down to one position.
    """
    affinity = pair_affinity(features[None], radius, distance, border)[0]
    return propagate_pairs(scores, affinity, radius, beta, log_steps, border)


@torch.no_grad()
def propagate_along_edges(
    scores: Tensor, edge: Tensor, radius: int = 5, beta: float = 10, log_steps: int = 8
) -> Tensor:
    """IRN's refinement of class maps (Section 5 of the paper, without instances): maps are silenced on the edges and
    walk where no edge lies in between. The map is surrounded by edges, so that border positions keep their neighbours.

    Args:
        scores: (L, h, w), class maps.
        edge: (h, w), edge probability in [0, 1].

    Returns:
        (L, h, w) = (v * (1 - edge)) T^(2^log_steps), as `propagate_pairs`.
    """
    affinity = pair_edge_affinity(edge.reshape(1, 1, *scores.shape[1:]), radius, border="padded")[0]
    return propagate_pairs(scores * (1 - edge), affinity, radius, beta, log_steps, border="padded")


def at_image_size(walked: Tensor, stride: int, height: int, width: int) -> Tensor:
    """Walked maps, each cell `stride` pixels wide, cut to the image: both papers enlarge by that factor and stretch nothing.

    Args:
        walked: (L, h, w) with h >= height / stride and w alike.

    Returns:
        float32 (L, height, width), bilinear, corners not aligned.
    """
    size = walked.shape[1] * stride, walked.shape[2] * stride
    return interpolate(walked[None].float(), size=size, mode="bilinear", align_corners=False)[0, :, :height, :width]
