"""AffinityNet's parameter groups and IRN's edge network, beside numbers of the published code."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from golden_numbers import assert_near, golden
from test_published_networks import CONFIG, backbone
from torch import nn

from workflow_scripts.base.plugins import plugin
from workflow_scripts.data.checkpoints.layer_names import of_network
from workflow_scripts.data.checkpoints.weights import load_initial, load_trained
from workflow_scripts.data.transforms import normalise
from workflow_scripts.refine.affinity import pair_labels
from workflow_scripts.refine.irn import AffinityNetwork, cell_labels, edge_map
from workflow_scripts.training.optimiser import build, parameter_groups

pytestmark = pytest.mark.filterwarnings("ignore:.*num_batches_tracked. copying from a non-meta:UserWarning")
GROUPS = {(1, 1): 0, (2, 0): 1, (10, 1): 2, (20, 0): 3}  # of AffinityNet, by rate and decay


def affinity(name: str, device: str = "meta") -> nn.Module:
    block = CONFIG.block("voc", "affinities", name)
    with torch.device(device):
        return plugin("refine", block.network).AffinityNetwork(backbone(block), block)


def groups_by_official_name(network: nn.Module, recipe, names: np.ndarray) -> dict[str, tuple[float, float]]:
    """Rate and decay, in units of the recipe's, of the parameters that an optimiser moves."""
    marks = {str(name): torch.zeros(()) for name in names}
    own = of_network(network, marks, "names.pth")
    official = {id(value): name for name, value in marks.items()}
    parameters = {id(network.get_parameter(name)): official[id(value)] for name, value in own.items()}
    found = {}
    for group in parameter_groups(network, recipe):
        shares = group["lr"] / recipe.learning_rate, group["weight_decay"] / recipe.weight_decay
        found |= {parameters[id(parameter)]: shares for parameter in group["params"]}
    return found


@pytest.mark.parametrize("kind", ["vgg16", "resnet38"])
def test_affinity_net_s_groups(kind):
    numbers = golden("psa_groups.npz")
    recipe = CONFIG.block("voc", "affinities", f"cam_{kind}").recipe
    for name in ("learning_rate", "weight_decay", "momentum"):
        assert getattr(recipe, name) == pytest.approx(float(numbers[name]))
    names, trained = numbers[f"{kind}.names"], numbers[f"{kind}.trained"]
    found = groups_by_official_name(affinity(f"cam_{kind}"), recipe, names)
    assert set(found) == set(names[trained])
    for name, group, *expected in zip(
        *(numbers[f"{kind}.{key}"] for key in ("names", "group", "rate", "decay")), strict=True
    ):
        if name in found:
            assert found[name] == pytest.approx(tuple(expected)) and GROUPS[tuple(map(round, found[name]))] == group


class Parts(nn.Module):
    """Pretrained and new weights and biases, one of each."""

    def __init__(self, starts: list[np.ndarray]):
        super().__init__()
        self.parts = nn.ParameterList(torch.from_numpy(start.copy()) for start in starts)

    def new_parameters(self) -> list[nn.Parameter]:
        return list(self.parts)[2:]


def test_affinity_net_s_steps():
    numbers = golden("psa_groups.npz")
    network = Parts([numbers[f"start.{group}"] for group in range(4)])
    same = {name: float(numbers[name]) for name in ("learning_rate", "weight_decay", "momentum")}
    recipe = CONFIG.block("voc", "affinities", "cam_vgg16").recipe
    recipe = recipe.model_copy(update=same | {"iterations": int(numbers["max_step"])})
    optimiser, schedule = build(network, recipe)
    for step in range(sum(name.startswith("rates.") for name in numbers)):
        assert_near([group["lr"] for group in optimiser.param_groups], numbers[f"rates.{step}"], 1e-6)
        for group, part in enumerate(network.parts):
            part.grad = torch.from_numpy(numbers[f"gradient.{step}.{group}"])
        optimiser.step()
        schedule.step()
        for group, part in enumerate(network.parts):
            assert_near(part.detach(), numbers[f"after.{step}.{group}"], 1e-6)


def test_irn_s_layers_and_taps():
    numbers, network = golden("irn_edge.npz"), affinity("cam_irn_resnet50")
    layers = {n: m for n, m in network.backbone.named_modules() if isinstance(m, nn.Conv2d | nn.MaxPool2d)}
    expected = dict(
        zip(numbers["layers.names"], numbers["layers.kernel_stride_padding_dilation"].tolist(), strict=True)
    )
    assert set(layers) == set(expected)
    for name, layer in layers.items():
        sides = [getattr(layer, part) for part in ("kernel_size", "stride", "padding", "dilation")]
        assert [side if isinstance(side, int) else side[0] for side in sides] == expected[name], name
    assert layers["maxpool"].ceil_mode == numbers["layers.maxpool_ceil"]
    norms = [m for m in network.train().modules() if isinstance(m, nn.BatchNorm2d)]
    assert norms and any(m.training or m.weight.requires_grad for m in norms) == numbers["layers.batch_norm_trained"]
    for name in numbers:
        if name.startswith("taps.shapes."):
            side = int(name.rpartition(".")[2])
            taps = network.taps(torch.zeros(1, 3, side, side, device="meta"))
            assert [list(tap.shape[1:]) for tap in taps] == numbers[name].tolist()


def test_irn_s_head():
    numbers = golden("irn_edge.npz")
    weights = [torch.from_numpy(numbers[f"head.reduce.{layer}"]) for layer in range(5)]
    stub = nn.Module()
    stub.pyramid_channels = [weight.shape[1] for weight in weights]
    stub.pyramid_strides = affinity("cam_irn_resnet50").backbone.pyramid_strides
    network = AffinityNetwork(stub, SimpleNamespace(radius=10, border="published")).eval()
    state = {f"fc_edge{layer + 1}.0.weight": weight for layer, weight in enumerate(weights)}
    for layer in range(5):
        state |= {
            f"fc_edge{layer + 1}.1.{part}": torch.from_numpy(numbers[f"head.norm_{part}.{layer}"])
            for part in ("weight", "bias")
        }
    state |= {f"fc_edge6.{part}": torch.from_numpy(numbers[f"head.{part}"]) for part in ("weight", "bias")}
    stub.renames = ()
    network.load_state_dict(of_network(network, state, "head.pth"))
    taps = [torch.from_numpy(numbers[f"head.tap.{layer}"]) for layer in range(5)]
    with torch.no_grad():
        joined = network.joined(taps)
        expected = numbers["head.joined"]
        assert_near(joined[:, :: joined.shape[1] // expected.shape[1]], expected, 1e-5)
        assert_near(network.head(joined), numbers["head.logits"], 1e-5)
        views = iter([[tap[view : view + 1] for tap in taps] for view in (0, 1)])  # the image, then its mirror image
        network.taps = lambda images: next(views)
        image = torch.zeros(3, *numbers["head.image_size"])
        assert_near(edge_map(network, image, 0), numbers["head.edge"], 1e-5)


def test_irn_s_labels_and_loss():
    numbers = golden("irn_edge.npz")
    label = torch.from_numpy(numbers["label"])
    cells = cell_labels(label)
    np.testing.assert_array_equal(cells, numbers["label_stride_4"])
    for name in numbers:
        if name.startswith("sampled_rows."):
            rows = torch.arange(int(name.rpartition(".")[2]))
            np.testing.assert_array_equal(cell_labels(rows[:, None])[:, 0], numbers[name])
    radius = int(numbers["loss.radius"])
    assert [int(mask.sum()) for mask in pair_labels(cells, radius)] == numbers["loss.pairs"].tolist()
    logits = torch.from_numpy(numbers["loss.edge_logits"]).requires_grad_()
    network = affinity("cam_irn")
    network.options = SimpleNamespace(radius=radius, border=network.options.border)
    network.forward = lambda images: logits
    loss = network.losses({"image": None, "label": label.long()})["affinity"]
    loss.backward()
    assert_near(loss.item(), numbers["loss.value"], 1e-5)
    assert_near(logits.grad, numbers["loss.gradient"], 1e-5)


def test_irn_s_groups():
    numbers = golden("irn_edge.npz")
    for block in ("cam_irn_resnet50", "cam_irn"):
        recipe = CONFIG.block("voc", "affinities", block).recipe
        assert recipe.learning_rate == pytest.approx(float(numbers["groups.learning_rate"]))
        assert recipe.momentum == pytest.approx(float(numbers["groups.momentum"]))
        names = numbers["groups.names"]
        found = groups_by_official_name(affinity(block), recipe, names)
        assert list(found) and set(found) == set(names)
        for name, rate, decay in zip(names, numbers["groups.rate"], numbers["groups.decay"], strict=True):
            assert found[name] == pytest.approx((rate, decay / recipe.weight_decay))


def generated(numbers: dict[str, np.ndarray]) -> dict[str, torch.Tensor]:
    """A state dict as IRN's training saves it, its numbers from a generator; what does not count is zero."""
    shapes = dict(zip(numbers["official_names"], numbers["official_shapes"], strict=True))
    shapes = {str(name): [int(side) for side in shape.split("x") if side] for name, shape in shapes.items()}
    state = {name: torch.zeros(()).expand(shape) for name, shape in shapes.items()}
    for number, name in enumerate(map(str, numbers["names"])):
        rng, shape = np.random.RandomState(1000 * int(numbers["seed"]) + number), shapes[name]
        if name.endswith("running_var"):
            values = rng.uniform(0.6, 1.4, shape)
        elif name.endswith("running_mean"):
            values = 0.1 * rng.standard_normal(shape)
        elif len(shape) > 1:
            values = rng.standard_normal(shape) * np.sqrt(2 / np.prod(shape[1:]))
        elif name.endswith("weight"):
            values = rng.uniform(0.6, 1.4, shape) * (0.3 if ".bn3." in name else 1)
        else:
            values = 0.1 * rng.standard_normal(shape)
        state[name] = torch.from_numpy(values.astype(np.float32))
    state["fc_edge6.weight"] = state["fc_edge6.weight"] * float(numbers["head_scale"])
    state["fc_edge6.bias"] = torch.from_numpy(numbers["head_bias"])
    sums = [state[str(name)].double().abs().sum().item() for name in numbers["names"]]
    assert sums == pytest.approx(numbers["checksum"].tolist(), rel=1e-6)
    return state


def test_irn_s_authors_file_and_its_edges(tmp_path):
    numbers = golden("irn_edge_whole.npz")
    path, state = tmp_path / "res50_irn.pth", generated(numbers)
    torch.save(state, path)
    network = affinity("cam_irn_resnet50", "cpu").eval()
    load_initial(network.backbone, str(path))
    assert torch.equal(network.backbone.layer4[2].conv3.weight, state["resnet50.layer4.2.conv3.weight"])
    load_trained(network, path)
    logits = []
    network.register_forward_hook(lambda module, inputs, output: logits.append(output[0, 0]))
    frame = CONFIG.block("voc", "masks", "cam_irn_resnet50").frame
    assert frame == numbers["crop"]
    taps, original = [], network.taps
    network.taps = lambda images: taps.append(original(images)) or taps[-1]
    for case in sorted(name.partition(".")[0] for name in numbers if name.endswith(".image")):
        expected = {name.partition(".")[2]: value for name, value in numbers.items() if name.startswith(f"{case}.")}
        logits.clear(), taps.clear()
        with torch.inference_mode():
            edge = edge_map(network, normalise(expected["image"]), frame)
        assert_near(edge, expected["edge"], 1e-3)
        height, width = edge.shape
        assert_near(torch.stack(logits)[:, :height, :width], expected["logits"], 1e-3)
        of_image, _ = taps
        assert [list(tap.shape[1:]) for tap in of_image] == expected["tap_sizes"].tolist()
        assert_near([tap.mean() for tap in of_image], expected["tap_mean_of_image"], 1e-3)
        assert_near([tap.std(correction=0) for tap in of_image], expected["tap_deviation_of_image"], 1e-3)
        begin = expected["tap_begin"].shape[1:]
        assert_near(torch.stack([tap[0][tuple(map(slice, begin))] for tap in of_image]), expected["tap_begin"], 1e-3)
