"""Mask rule `learnt`: the background that EPS learns, which its published code discards."""

from typing import Annotated, Literal

import numpy as np

from workflow_scripts.base.errors import UserError
from workflow_scripts.config.types.blocks import FolderCam
from workflow_scripts.config.types.mask_blocks import MaskRule
from workflow_scripts.config.types.parts import DenseCrf, Name, Of, Sections
from workflow_scripts.data.maps import learnt_background
from workflow_scripts.refine.background import Maps, Rule


class LearntMask(MaskRule):
    rule: Literal["learnt"]
    cam: Annotated[Name, Of("cams")]
    crf: DenseCrf | None = None

    def check(self, where: str, sections: Sections) -> None:
        """Refuse maps of a classifier that learns no background."""
        cam = sections["cams"][self.cam]
        if isinstance(cam, FolderCam):
            if not cam.background:
                raise UserError(
                    f"{where}.cam: {self.cam!r} keeps no background map; set background: true there, or use rule 'constant'"
                )
            return
        classifier = sections["classifiers"][cam.classifier]
        if not classifier.learns_background:
            raise UserError(f"{where}: method {classifier.method!r} learns no background map, use rule 'constant'")


def load(block, affinity, weights: str | None) -> Rule:
    """The rule of a mask block; no network, no weights. Maps without a learnt background are an error."""
    return Rule(_probabilities)


def _probabilities(maps: Maps) -> np.ndarray:
    if maps.background is None:
        raise UserError(f"{maps.source}: no learnt background; use rule 'constant' for this method")
    return learnt_background(maps.scores, maps.background)
