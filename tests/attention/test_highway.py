"""Own facts of Highway."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from attncli import data
from attncli.attention.branch.highway import Attention, _make_convolution
from attncli.recipe import Data
from tests.attention.case import randomise
from tests.attention.parity import read
from tests.shared import shared

OPTIONS: list[dict[str, Any]] = [{}, {"gate_bias": -2.0}, {"gate_kernel": 3}]
FACTS = [{}, {"channels_in": 16, "channels": 24, "stride": 2}]


class HighwayLayer(nn.Module):
    """The paper's layer, (N, C, H, W) -> (N, C, H, W). Raises ValueError for an even kernel."""

    def __init__(
        self, channels: int, *, kernel: int = 3, transform_kernel: int = 3, transform_bias: float = -2.0
    ) -> None:
        super().__init__()
        self.body = _make_convolution(channels, channels, kernel, 1, 0.0)
        self.join = Attention(channels, channels, gate_bias=transform_bias, gate_kernel=transform_kernel)

    def forward(self, x: Tensor) -> Tensor:
        """Transform x if the gate is open, carry it if the gate is shut."""
        y: Tensor = self.join(x, F.relu(self.body(x)), x)
        return y


def parameters(facts: dict[str, Any], options: dict[str, Any]) -> int:
    """C_in C k^2 + C a block."""
    return facts["channels_in"] * facts["channels"] * options.get("gate_kernel", 1) ** 2 + facts["channels"]


def official(meta: dict[str, Any], params: dict[str, Tensor]) -> tuple[nn.Module, dict[str, Tensor]]:
    """The convolutional layer: H.weight, H.bias, T.weight, T.bias."""
    kernel, transform_kernel = (params[f"{name}.weight"].shape[-1] for name in "HT")
    module = HighwayLayer(params["H.weight"].shape[0], kernel=kernel, transform_kernel=transform_kernel)
    names = {"H": "body", "T": "join.transform"}
    return module, {f"{names[key[0]]}{key[1:]}": value for key, value in params.items()}


def inputs(n: int = 2) -> tuple[Tensor, Tensor, Tensor]:
    """x with 4 channels, branch and shortcut with 6, at stride 2."""
    g = torch.Generator().manual_seed(0)
    shapes = ((n, 4, 7, 6), (n, 6, 4, 3), (n, 6, 4, 3))
    x, branch, shortcut = (torch.randn(s, generator=g, dtype=torch.float64) for s in shapes)
    return x, branch, shortcut


def module_with_bias(bias: float) -> Attention:
    """A gate of random weights whose bias is `bias`."""
    module = randomise(Attention(6, 4, 2).double())
    module.transform.bias.data.fill_(bias)
    return module


def test_transformed_map_of_the_fixture() -> None:
    """H alone is relu(conv_H x), the array h of the fixture."""
    meta, data, params = read(shared("parity/highway.npz"))
    module, state = official(meta, params)
    module.double().load_state_dict(state)
    torch.testing.assert_close(F.relu(module.body(data["x"])), data["h"], rtol=1e-9, atol=1e-10)


def test_hand_computed_gate() -> None:
    """x = log 3 through a gate of weight 1, bias 0: T = 3/4, so y = 3/4 * 8 + 1/4 * 4 = 7."""
    module = Attention(1, 1, gate_bias=0.0).double()
    nn.init.ones_(module.transform.weight)
    x = torch.tensor(3.0, dtype=torch.float64).log().expand(1, 1, 1, 1)
    assert module(x, torch.full_like(x, 8), torch.full_like(x, 4)).item() == pytest.approx(7)


def test_ends_of_the_gate() -> None:
    """Bias -50: the shortcut; +50: the branch (claim highway-carry)."""
    x, branch, shortcut = inputs()
    for bias, expected in ((-50.0, shortcut), (50.0, branch)):
        torch.testing.assert_close(module_with_bias(bias)(x, branch, shortcut), expected, rtol=0, atol=1e-9)


def test_output_lies_between_branch_and_shortcut() -> None:
    """Element by element y is a convex combination (claim highway-convex)."""
    x, branch, shortcut = inputs()
    y = module_with_bias(0.3)(x, branch, shortcut)
    assert (y >= torch.minimum(branch, shortcut) - 1e-12).all()
    assert (y <= torch.maximum(branch, shortcut) + 1e-12).all()


def test_starts_close_to_the_shortcut() -> None:
    """The bias starts at -6 (layer: -2) and the weights with Xavier's deviation (claim highway-bias)."""
    module = Attention(64, 64)
    assert (module.transform.bias == -6).all()
    assert module.transform.weight.std().item() == pytest.approx((2 / 128) ** 0.5, rel=0.05)
    layer = HighwayLayer(4)
    assert (layer.join.transform.bias == -2).all()
    assert (layer.body.bias == 0).all()


def test_parameters_on_resnets() -> None:
    """All blocks: resnet18 526,208, resnet50 17,332,992, CIFAR resnet20 13,904 (claim highway-params)."""

    def total(widths: list[int], blocks: list[int], first: int) -> int:
        places = []
        for width, n in zip(widths, blocks, strict=True):
            places += [(first, width)] + [(width, width)] * (n - 1)
            first = width
        with torch.device("meta"):
            return sum(p.numel() for i, o in places for p in Attention(o, i).parameters())

    assert total([64, 128, 256, 512], [2, 2, 2, 2], 64) == 526_208
    assert total([256, 512, 1024, 2048], [3, 4, 6, 3], 64) == 17_332_992
    assert total([16, 32, 64], [3, 3, 3], 16) == 13_904


def test_gradient_survives_fifty_layers() -> None:
    """What lets deep stacks train (claim highway-trainable): a plain stack's gradient all but vanishes on its way."""

    def gradient(stack: nn.Module) -> float:
        x = torch.randn(4, 8, 1, 1, generator=torch.Generator().manual_seed(1)).requires_grad_()
        return torch.autograd.grad(stack(x).sum(), x)[0].norm().item()

    torch.manual_seed(0)
    highway = gradient(nn.Sequential(*(HighwayLayer(8, kernel=1, transform_kernel=1) for _ in range(50))))
    plain = gradient(nn.Sequential(*(nn.Sequential(nn.Conv2d(8, 8, 1), nn.ReLU()) for _ in range(50))))
    assert highway > 0.1
    assert plain < 1e-3 * highway


def batches(tmp_path: Path, steps: int = 40) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches of 64 digits, their pixels as 64 channels: (64, 64, 1, 1), and labels."""
    part = data.load(Data(name="digits"), cache=tmp_path).train
    g = torch.Generator().manual_seed(0)
    for _ in range(steps):
        i = torch.randint(0, len(part.labels), (64,), generator=g)
        yield part.images[i, 0].flatten(1)[:, :, None, None] / 128 - 1, part.labels[i]


def losses(tmp_path: Path, *, highway: bool, depth: int, lr: float, bias: float) -> list[float]:
    """Losses of 40 steps of SGD with momentum on the digits, by a stack of layers 32 wide between two linear ones."""

    def layer() -> nn.Module:
        if highway:
            return HighwayLayer(32, kernel=1, transform_kernel=1, transform_bias=bias)
        return nn.Sequential(_make_convolution(32, 32, 1, 1, 0.0), nn.ReLU())

    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(64, 32, 1), *(layer() for _ in range(depth)), nn.Conv2d(32, 10, 1), nn.Flatten())
    optimizer = torch.optim.SGD(net.parameters(), lr, momentum=0.9)
    found = []
    for images, labels in batches(tmp_path):
        loss = F.cross_entropy(net(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        found.append(loss.item())
    return found


def test_deep_stacks_train_where_plain_ones_do_not(tmp_path: Path) -> None:
    """Fifty highway layers learn the digits in 40 steps, fifty plain ones not at all (claim highway-trainable)."""
    assert sum(losses(tmp_path, highway=True, depth=50, lr=0.3, bias=-4.0)[-5:]) / 5 < 0.5
    for lr in (0.03, 0.3):
        assert min(losses(tmp_path, highway=False, depth=50, lr=lr, bias=0.0)[-5:]) > 2.2  # log 10 = 2.30 is chance


def test_converges_faster_than_a_plain_stack(tmp_path: Path) -> None:
    """Ten layers: the highway's loss falls below 1 at a rate where the plain stack's stays above (highway-faster)."""
    for lr in (0.03, 0.1):
        highway, plain = (losses(tmp_path, highway=kind, depth=10, lr=lr, bias=-2.0) for kind in (True, False))
        assert sum(highway[-5:]) < sum(plain[-5:])
        if lr == 0.1:
            assert min(highway) < 1 < min(plain)


def test_even_kernel_is_refused() -> None:
    """An even kernel has no centre."""
    with pytest.raises(ValueError, match="odd"):
        Attention(8, 8, gate_kernel=2)
