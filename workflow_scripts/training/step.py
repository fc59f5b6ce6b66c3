"""One optimiser step: a batch in equal parts, in the recipe's precision, on the device of the job."""

import torch
from torch import Tensor, nn

from workflow_scripts.training.device import autocast
from workflow_scripts.training.optimiser import build
from workflow_scripts.training.processes import Gradients, Group

ALONE = Group()


def parts_of(batch: dict[str, Tensor], count: int) -> list[dict[str, Tensor]]:
    """Equal parts of a batch, in order.

    Where the batch has `label`, each part also has `whole_label`, that of the whole batch (its own, where it is a part of
    one itself): a loss that is a mean over labelled positions divides by the number of those in the whole batch.
    """
    if count == 1:
        return [batch]
    whole = {"whole_label": batch.get("whole_label", batch["label"])} if "label" in batch else {}
    split = {name: value.chunk(count) for name, value in batch.items() if name not in whole}
    return [{name: chunks[number] for name, chunks in split.items()} | whole for number in range(count)]


class Step:
    """A network with its optimiser, schedule and loss scale; called with a batch it makes one step.

    With `accumulate` above 1 the gradient is that of the whole batch up to rounding, at the memory of one part. Two things differ:
    trained batch normalisation takes its statistics from one part at a time, and so do their running means, once a part;
    and dropout draws in another order. Frozen batch normalisation, as published, is not concerned.

    In float16 the loss is scaled up so that small gradients do not vanish; a step whose gradients overflow changes no weight and
    lowers the scale, and counts as an iteration.

    Args:
        network: its `losses(batch)`, named and to be summed, are means over the batch.
        recipe: `config.parts.Schedule`.
        group: processes that have a part of the batch each.
    """

    def __init__(self, network: nn.Module, recipe, where: torch.device, group: Group = ALONE):
        self.network = network.to(where, memory_format=torch.channels_last).train()
        self.recipe, self.where, self.group = recipe, where, group
        group.prepare(network)
        self.gradients = Gradients(network, group)
        self.optimiser, self.schedule = build(network, recipe)
        self.scaler = torch.amp.GradScaler(where.type, enabled=recipe.precision == "float16")
        self.losses = torch.compile(network.losses, dynamic=False) if recipe.compile else network.losses

    def __call__(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Learn from a batch that is on the device; returns its losses, still there, so that nobody waits for them."""
        count, means = self.recipe.accumulate, dict[str, Tensor]()
        self.optimiser.zero_grad(set_to_none=True)
        for part in parts_of(self.group.whole(batch), count):
            with autocast(self.where, self.recipe.precision):
                named = self.losses(part)
            self.scaler.scale(sum(named.values()) / count).backward()
            for name, value in named.items():
                means[name] = means.get(name, 0) + value.detach() / count
        self.gradients.average()
        if self.group.count > 1:
            self.group.average(list(means.values()))
        self.scaler.step(self.optimiser)
        self.scaler.update()
        self.schedule.step()
        return means

    @property
    def rate(self) -> float:
        """The learning rate of the next step."""
        return self.schedule.get_last_lr()[0]

    def state_dict(self) -> dict:
        parts = {"network": self.network, "optimiser": self.optimiser, "schedule": self.schedule, "scaler": self.scaler}
        return {name: part.state_dict() for name, part in parts.items()}

    def load_state_dict(self, state: dict) -> None:
        self.network.load_state_dict(state["network"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.schedule.load_state_dict(state["schedule"])
        self.scaler.load_state_dict(state["scaler"])
