"""torchvision's published weights, fetched on first use and checked by the digest in their file's name."""

from http.client import HTTPException
from pathlib import Path

import torch
from torch import Tensor

from workflow_scripts.base.errors import UserError


def published_state(weights) -> dict[str, Tensor]:
    """The state dict of a member of one of torchvision's `WeightsEnum`, which it is not for this module to import.

    Raises:
        UserError: there is no connection, or what arrives is damaged.
    """
    try:
        return weights.get_state_dict(progress=False, check_hash=True)
    except (OSError, HTTPException, RuntimeError) as error:  # the last: of another digest, or cut off
        reason = " ".join(str(getattr(error, "reason", error)).split())
        folder = Path(torch.hub.get_dir()) / "checkpoints"
        raise UserError(
            f"initial: imagenet: {weights.url} cannot be fetched ({reason}); connect this machine, put the file into {folder} by hand, "
            "or set the block's initial to the path of a copy or to random"
        ) from None
