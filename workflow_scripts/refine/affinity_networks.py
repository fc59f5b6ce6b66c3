"""Networks that learn affinities, looked up by the name that a block gives as `network`: `affinity_net`, `irn`."""

from types import SimpleNamespace

from torch import nn

from workflow_scripts import networks
from workflow_scripts.base.plugins import plugin


def build(affinity: SimpleNamespace) -> nn.Module:
    """The affinity network of a block, weights random."""
    return plugin("refine", affinity.network).AffinityNetwork(networks.build(**vars(affinity.backbone)), affinity)
