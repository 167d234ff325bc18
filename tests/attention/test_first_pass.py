"""A user's mechanism is tried before training: what it returns may be overwritten, and its lazy layers get weights."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from attncli import model, validation
from attncli.errors import UserError

SHAPE = model.InputSpec(10, (32, 32))
WIDTHS = (16, 32, 64)  # of resnet20's three stages of three blocks
FILE = """
import torch
from torch import nn


class Multiply(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 1)

    def forward(self, x):
        return x * torch.sigmoid(self.conv(x))


class Sigmoid(Multiply):
    def forward(self, x):
        return torch.sigmoid(self.conv(x))


class Tanh(Multiply):
    def forward(self, x):
        return torch.tanh(self.conv(x))


class Softmax(Multiply):
    def forward(self, x):
        return self.conv(x).softmax(1)


class Lazy(nn.Module):
    def __init__(self):
        super().__init__()
        self.squeeze = nn.LazyConv2d(8, 1)
        self.norm = nn.LazyBatchNorm2d()
        self.excite = nn.LazyConv2d(1, 1)

    def forward(self, x):
        return x * self.excite(self.norm(self.squeeze(x)).relu()).sigmoid()


class Later(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = None

    def forward(self, x):
        if self.conv is None:
            self.conv = nn.Conv2d(x.shape[1], 1, 1).to(x.device)
        return x * self.conv(x).sigmoid()


class Forgotten(Lazy):
    def __init__(self):
        super().__init__()
        self.other = nn.LazyLinear(3)
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file of mechanisms."""
    path = tmp_path / "mine.py"
    path.write_text(FILE)
    return path


def build(attn: str, backbone: str = "resnet20", seed: int = 0) -> nn.Module:
    """The network with a mechanism."""
    recipe = validation.read(None, [], {"model.backbone": backbone, "model.attn": attn, "seed": seed})
    return model.build(recipe, SHAPE)


def compute_gradients(net: nn.Module) -> dict[str, Tensor]:
    """The gradients of the summed logits of four random images, in training mode."""
    images = torch.randn(4, 3, *SHAPE.size, generator=torch.Generator().manual_seed(0))
    torch.manual_seed(0)  # of dropout
    net.train()(images).square().sum().backward()
    return {name: parameter.grad for name, parameter in net.named_parameters() if parameter.grad is not None}


@pytest.mark.parametrize("backbone", ["resnet20", "mobilenet_v2"])
@pytest.mark.parametrize("name", ["Sigmoid", "Tanh", "Softmax"])
def test_a_block_may_write_into_what_a_mechanism_returns(file: Path, name: str, backbone: str) -> None:
    """The gradients are those of the same function that returns a map of its own."""
    text = file.read_text()
    own = file.with_name("own.py")
    own.write_text(
        f"{text}\n\nclass Copied({name}):\n    def forward(self, x):\n        return super().forward(x) + 0\n"
    )
    expected = compute_gradients(build(f"{own}:Copied", backbone))
    gradients = compute_gradients(build(f"{file}:{name}", backbone))
    assert gradients.keys() == expected.keys()
    assert all(torch.equal(gradients[key], expected[key]) for key in expected)


def test_a_map_is_copied_only_if_the_network_overwrites_what_a_gradient_needs(file: Path) -> None:
    """The copy costs time, which a mechanism that multiplies its input does not need."""
    hooks = {
        name: [len(m._forward_hooks) for m in model.find_mechanisms(build(f"{file}:{name}")).values()]
        for name in ("Multiply", "Sigmoid")
    }
    assert hooks == {"Multiply": [0] * 9, "Sigmoid": [1] * 9}


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_layers_of_the_first_pass_have_the_width_of_their_place(file: Path, device: str) -> None:
    """Counted without data and built for a training alike; a combination has them too."""
    for attn, part in ((f"{file}:Lazy", 0), (f"se+{file}:Lazy", 1)):
        with torch.device(device):
            modules = list(model.find_mechanisms(build(attn)).values())
        if part:
            modules = [module for module in modules if type(module).__name__ == "Lazy"]
        counts = [sum(p.numel() for p in module.parameters()) for module in modules]
        assert counts == [8 * c + 8 + 2 * 8 + 8 + 1 for c in WIDTHS for _ in range(3)]


@pytest.mark.parametrize("name", ["Lazy", "Later"])
def test_layers_of_the_first_pass_are_drawn_from_the_stream_of_their_place(file: Path, name: str) -> None:
    """The seed and the place decide their weights: not the state of torch's generator, nor a partner."""

    def read_weights(attn: str, seed: int = 0) -> list[Tensor]:
        modules = model.find_mechanisms(build(attn, seed=seed)).values()
        weight = "squeeze.weight" if name == "Lazy" else "conv.weight"
        return [module.get_parameter(weight).detach() for module in modules if type(module).__name__ == name]

    torch.manual_seed(1)
    weights = read_weights(f"{file}:{name}")
    torch.manual_seed(2)
    again, beside_se = read_weights(f"{file}:{name}"), read_weights(f"se+{file}:{name}")
    other_seed = read_weights(f"{file}:{name}", seed=1)
    assert len(weights) == 9
    assert all(torch.equal(a, b) for a, b in zip(weights, again, strict=True))
    assert all(torch.equal(a, b) for a, b in zip(weights, beside_se, strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(weights, other_seed, strict=True))
    assert not torch.equal(weights[0], weights[1])


def test_a_lazy_layer_that_no_pass_uses_is_refused(file: Path) -> None:
    """It would have no weights: the line names it."""
    with pytest.raises(UserError) as caught:
        build(f"{file}:Forgotten")
    assert "layer1.0.bn2.attn.other" in caught.value.problem
