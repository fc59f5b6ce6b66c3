"""Networks that were trained elsewhere, taken over in place of a training."""

from types import SimpleNamespace

from torch import nn

from workflow_scripts.data.checkpoints.weights import load_trained, save_weights
from workflow_scripts.store.artifacts import write


def take_over(network: nn.Module, source: str, outputs: SimpleNamespace) -> None:
    """Write trained weights as a training would: the whole network's, every layer of it, and a curve of no rows.

    Args:
        network: of the block; its weights are replaced.
        source: the checkpoint, its authors' or one of this project.
        outputs: paths `weights` and `curve`.

    Raises:
        UserError: as `data.weights.load_trained`.
    """
    load_trained(network, source)
    write(outputs.curve, "iteration,learning_rate\n")
    save_weights(network, outputs.weights)
    print(f"{source}: taken over, {len(network.state_dict())} tensors", flush=True)
