"""Own facts of STN."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from attncli.attention.spatial.stn import Attention, make_affine_grid
from tests.attention.parity import read
from tests.shared import shared

OPTIONS: list[dict[str, Any]] = [
    {},
    {"transform": "attention"},
    {"transform": "projective"},
    {"align_corners": True},
    {"padding_mode": "border"},
    {"padding_mode": "reflection"},
    {"mode": "bicubic"},
    {"loc_channels": (4, 6)},
    {"loc_hidden": 16},
]
FACTS = [
    {"channels": 1, "size": (28, 26)},
    {"channels": 3, "size": (32, 40)},
    {"channels": 3, "size": (20, 19)},
    {"channels": 1, "size": (9, 7)},
]


def settle(module: nn.Module) -> None:
    """A small warp: a large one looks past the image, where nothing depends on it."""
    module.head.weight.data /= 1000
    module.head.bias.data = Attention(1, (8, 8), transform=module.transform).head.bias.data.double() + 0.01


def parameters(facts: dict[str, Any], options: dict[str, Any]) -> int:
    """a (49 C + 1) + b (25 a + 1) + h (9 b + 1) + n (h + 1)."""
    (a, b), h = options.get("loc_channels", (8, 10)), options.get("loc_hidden", 32)
    n = {"affine": 6, "attention": 3, "projective": 8}[options.get("transform", "affine")]
    return a * (49 * facts["channels"] + 1) + b * (25 * a + 1) + h * (9 * b + 1) + n * (h + 1)


class TutorialNet(nn.Module):
    """The classifier of PyTorch's tutorial behind our transformer, in evaluation (no dropout)."""

    def __init__(self, transformer: nn.Module, params: dict[str, Tensor]) -> None:
        super().__init__()
        self.transformer = transformer
        for name in ("conv1", "conv2"):
            setattr(self, name, nn.Conv2d(*params[f"{name}.weight"].shape[1::-1], 5))
        for name in ("fc1", "fc2"):
            setattr(self, name, nn.Linear(*params[f"{name}.weight"].shape[::-1]))

    def forward(self, x: Tensor) -> Tensor:
        """Log-probabilities of the digits."""
        x = self.transformer(x)
        for conv in (self.conv1, self.conv2):
            x = F.relu(F.max_pool2d(conv(x), 2))
        return F.log_softmax(self.fc2(F.relu(self.fc1(x.flatten(1)))), 1)


def official(meta: dict[str, Any], params: dict[str, Tensor]) -> tuple[nn.Module, dict[str, Tensor]]:
    """The tutorial's localization and fc_loc, alone or within its network."""
    a, channels = params["localization.0.weight"].shape[:2]
    module = Attention(
        channels,
        tuple(meta["input_shape"][2:]),
        align_corners=str(meta.get("align_corners")) == "True",
        loc_channels=(a, params["localization.3.weight"].shape[0]),
        loc_hidden=params["fc_loc.0.weight"].shape[0],
    )
    prefix = "transformer." if "conv1.weight" in params else ""
    names = {"localization.": "localise.", "fc_loc.0.": "localise.8.", "fc_loc.2.": "head."}
    state = {}
    for key, value in params.items():
        old = next((n for n in names if key.startswith(n)), None)
        state[prefix + key.replace(old, names[old]) if old else key] = value
    return TutorialNet(module, params) if prefix else module, state


def transformer(name: str) -> tuple[Attention, dict[str, Tensor]]:
    """The transformer of a fixture with its weights, and the fixture's arrays."""
    meta, data, params = read(shared(f"parity/{name}.npz"))
    module, state = official(meta, params)
    module.double().load_state_dict(state)
    return getattr(module, "transformer", module), data


@pytest.mark.parametrize("name", ["stn", "stn-net"])
def test_theta_and_warp_of_the_fixtures(name: str) -> None:
    """The warps, the warped images, and those with align_corners=True are the tutorial's."""
    module, data = transformer(name)
    torch.testing.assert_close(module.predict_transform(data["x"]), data["theta"], rtol=1e-9, atol=1e-10)
    if "warped" in data:
        torch.testing.assert_close(module(data["x"]), data["warped"], rtol=1e-9, atol=1e-10)
    if "y_align_corners_true" in data:
        module.align_corners = True
        torch.testing.assert_close(module(data["x"]), data["y_align_corners_true"], rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("size", [(28, 28), (8, 8), (32, 48)], ids=str)
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_starts_as_the_identity(options: dict[str, Any], size: tuple[int, int]) -> None:
    """A fresh transformer returns its images but for rounding (claim stn-identity)."""
    x = torch.randn(2, 3, *size)
    torch.testing.assert_close(Attention(3, size, **options)(x), x, rtol=0, atol=2e-5)


class Operations(TorchDispatchMode):
    """The names of the operations in a block."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Note an operation and do it."""
        self.names.append(func.name())
        return func(*args, **(kwargs or {}))


def warp(transform: Any, numbers: list[float], x: Tensor) -> Tensor:
    """x under a warp given by its numbers."""
    module = Attention(1, (8, 8), transform=transform, align_corners=True).double()
    module.head.bias.data = torch.tensor(numbers, dtype=torch.float64)
    return module(x)


def test_hand_computed_warps() -> None:
    """A flip, a shift by two pixels with zeros outside, and the same shift as attention and as projection."""
    x = torch.arange(25.0, dtype=torch.float64).view(1, 1, 5, 5)
    torch.testing.assert_close(warp("affine", [-1, 0, 0, 0, 1, 0], x), x.flip(3))
    shifted = F.pad(x[..., 2:], (0, 2))
    torch.testing.assert_close(warp("affine", [1, 0, 1, 0, 1, 0], x), shifted)
    torch.testing.assert_close(warp("attention", [1, 1, 0], x), shifted)
    torch.testing.assert_close(warp("projective", [1, 0, 1, 0, 1, 0, 0, 0], x), shifted)


def test_projection_divides_by_depth() -> None:
    """Depth 2 at the right edge: its source is x = 1/2 instead of 1."""
    module = Attention(1, (8, 8), transform="projective", align_corners=True)
    theta = torch.tensor([[[1.0, 0, 0], [0, 1, 0], [1, 0, 1]]])
    grid = module.sampling_grid(theta, torch.Size((1, 1, 3, 3)))
    assert grid[0, 1, 2].tolist() == [0.5, 0.0]


@pytest.mark.filterwarnings("ignore:Since version 1.3.0:UserWarning")  # of one pixel with corners
@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("size", [(5, 7), (1, 4), (32, 48)], ids=str)
def test_grid_is_that_of_torch_without_its_product(size: tuple[int, int], align_corners: bool) -> None:
    """Of `affine_grid`, up to rounding; under autocast and with tf32 a matrix product would be off by 1e-3."""
    theta = torch.randn(3, 2, 3)
    expected = F.affine_grid(theta.double(), [3, 1, *size], align_corners).float()
    with torch.autocast("cpu", torch.bfloat16):
        grid = make_affine_grid(theta, size, align_corners=align_corners)
    torch.testing.assert_close(grid, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("transform", ["affine", "attention", "projective"])
def test_no_product_makes_coordinates(transform: Any) -> None:
    """Not with any transform, forward or backward."""
    module = Attention(1, (28, 28), transform=transform)
    theta = module.predict_transform(torch.randn(2, 1, 28, 28)).detach().requires_grad_()
    with Operations() as operations:
        module.sampling_grid(theta, torch.Size((2, 1, 28, 28))).sum().backward()
    assert not [name for name in operations.names if "mm" in name or "affine_grid" in name]
    assert theta.grad is not None


def test_one_warp_for_all_channels() -> None:
    """Two equal channels stay equal under any warp."""
    module = Attention(2, (8, 8)).double()
    nn.init.normal_(module.head.weight, std=0.1)
    x = torch.randn(3, 1, 8, 8, dtype=torch.float64).expand(3, 2, 8, 8)
    y = module(x)
    assert torch.equal(y[:, 0], y[:, 1])
    assert not torch.allclose(y, x)


def test_half_precision_images_are_sampled_in_float32() -> None:
    """Under bf16 autocast a shift by whole pixels is exact."""
    module = Attention(1, (28, 28), align_corners=True)
    module.head.bias.data[2] = 2 * 3 / 27
    x = torch.randn(1, 1, 28, 28).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        y = module(x)
    torch.testing.assert_close(y[..., :25], x[..., 3:], rtol=0, atol=1e-2)


def test_parameters_of_the_tutorial() -> None:
    """One channel: 5520."""
    assert sum(p.numel() for p in Attention(1, (28, 28)).parameters()) == 5520


def test_refusals() -> None:
    """Images below 4 pixels and unknown transforms are refused."""
    with pytest.raises(ValueError, match="3x9"):
        Attention(1, (3, 9))
    with pytest.raises(ValueError, match="transform"):
        Attention(1, (28, 28), transform="tps")
