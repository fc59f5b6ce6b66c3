"""The configuration, resolved once; rules ask it for inputs, settings and code of their stage."""

from workflow_scripts.config.rules import Rules
from workflow_scripts.errors import UserError

try:
    stages = Rules(config)
except UserError as error:
    raise WorkflowError(str(error))


wildcard_constraints:
    archive=r"[A-Za-z0-9]\w*",
    file=r"[0-9a-f]{12}-[\w.-]+",
    dataset=r"[A-Za-z0-9]\w*",
    seed=r"\d+",
    saliency=r"[A-Za-z0-9]\w*",
    classifier=r"[A-Za-z0-9]\w*",
    cam=r"[A-Za-z0-9]\w*",
    affinity=r"[A-Za-z0-9]\w*",
    mask=r"[A-Za-z0-9]\w*",
    segmenter=r"[A-Za-z0-9]\w*",
    prediction=r"[A-Za-z0-9]\w*",
    system=r"(?!(?:curves|thresholds)\.png)[A-Za-z0-9]\w*",  # rule curves makes these pictures
