"""Parameter groups and the optimiser of a recipe."""

import torch
from torch import nn

from workflow_scripts.training.schedules import cosine, drops, poly


def parameter_groups(network: nn.Module, recipe) -> list[dict]:
    """Four groups as in the published AffinityNet and EPS code: pretrained weights and biases, new weights and biases.

    New layers learn at `head_multiplier` times the base rate, biases at `bias_multiplier` times the rate of their
    weights and without decay, but where the recipe has `bias_decay`, as IRN's code. The scales of group normalisation are weights, as
    in PSA's code; those of batch and layer normalisation are treated as biases. Frozen parameters are in no group. A
    network may have `undecayed_parameters()`, tokens of a transformer, which are a group of their own.
    """
    new = {id(parameter) for parameter in network.new_parameters()}
    undecayed = [p for p in getattr(network, "undecayed_parameters", list)() if p.requires_grad]
    alone = {id(parameter) for parameter in undecayed}
    scales = {id(module.weight) for module in network.modules() if isinstance(module, nn.GroupNorm)}
    bias_decay = recipe.weight_decay if getattr(recipe, "bias_decay", False) else 0.0
    groups = []
    for is_new in (False, True):
        chosen = [
            p for p in network.parameters() if p.requires_grad and (id(p) in new) == is_new and id(p) not in alone
        ]
        if not chosen:
            continue
        rate = recipe.learning_rate * (recipe.head_multiplier if is_new else 1)
        weights = [p for p in chosen if p.ndim > 1 or id(p) in scales]
        biases = [p for p in chosen if p.ndim <= 1 and id(p) not in scales]
        groups.append({"params": weights, "lr": rate, "weight_decay": recipe.weight_decay})
        groups.append({"params": biases, "lr": rate * recipe.bias_multiplier, "weight_decay": bias_decay})
    groups.append({"params": undecayed, "lr": recipe.learning_rate, "weight_decay": 0.0})
    return [group for group in groups if group["params"]]


def build(network: nn.Module, recipe) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LambdaLR]:
    """Optimiser and schedule of a recipe; on a GPU one fused kernel updates many parameters.

    SGD's momentum is what the recipe says: the published code of AffinityNet and EPS passes the decay constant
    (5e-4) in its place, practically none.
    """
    groups = parameter_groups(network, recipe)
    fused = True if groups[0]["params"][0].is_cuda else None
    if recipe.optimiser == "sgd":
        optimiser = torch.optim.SGD(groups, lr=recipe.learning_rate, momentum=recipe.momentum, fused=fused)
    else:
        optimiser = torch.optim.AdamW(groups, lr=recipe.learning_rate, betas=(recipe.momentum, 0.999), fused=fused)

    def factor(step: int) -> float:
        if bend := recipe.cosine:
            first, last = bend.first_rate / recipe.learning_rate, bend.last_rate / recipe.learning_rate
            decay = cosine(step, recipe.iterations, recipe.warm_up, first, last, bend.every, bend.lag)
            return decay * drops(step, recipe.drop_at, recipe.drop_factor or 1)
        rise = min(1.0, (step + 1) / (recipe.warm_up + 1))
        decay = poly(step, recipe.iterations, recipe.poly_power, recipe.poly_every)
        return rise * decay * drops(step, recipe.drop_at, recipe.drop_factor or 1)

    return optimiser, torch.optim.lr_scheduler.LambdaLR(optimiser, factor)
