"""Own facts of TAM."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from attncli.attention.temporal.tam import Attention, _TemporalMix
from tests.attention.case import randomise

OPTIONS: list[dict[str, Any]] = [{}, {"kernel_size": 5}, {"alpha": 3}, {"beta": 8}, {"beta": 64}]
FACTS: list[dict[str, Any]] = [{}, {"frames": 2, "channels": 8}]


def parameters(facts: dict[str, Any], options: dict[str, Any]) -> int:
    """Local branch (K + 1) C^2 / beta + 2 C / beta, global branch alpha T (T + 2 + K)."""
    c, t, k = facts["channels"], facts["frames"], options.get("kernel_size", 3)
    hidden, wide = max(c // options.get("beta", 4), 1), options.get("alpha", 2) * t
    return (k + 1) * c * hidden + 2 * hidden + wide * (t + 2 + k)


def official(meta: dict[str, Any], params: dict[str, Tensor]) -> tuple[nn.Module, dict[str, Tensor]]:
    """TAM(in_channels, n_segment, kernel_size, stride, padding); stride and padding that keep T are ours."""
    args = meta.get("ctor") or meta["args"]
    k = args.get("kernel_size", 3)
    assert args.get("stride", 1) == 1
    assert args.get("padding", 1) == k // 2  # the official class fails with any other
    state = {name.replace("G.", "kernel.").replace("L.", "local."): value for name, value in params.items()}
    return Attention(args["in_channels"], args["n_segment"], kernel_size=k), state


def clip(*shape: int) -> Tensor:
    """A random input in float64."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(5), dtype=torch.float64)


def test_parameters_of_resnet50() -> None:
    """In the 16 bottlenecks of ResNet-50 with 8 frames: 1,262,688 parameters (claim tam-params)."""
    widths = [64] * 3 + [128] * 4 + [256] * 6 + [512] * 3
    assert sum(p.numel() for c in widths for p in Attention(c, 8).parameters()) == 1_262_688


def test_kernel_sums_to_one() -> None:
    """The temporal kernel is positive and sums to 1 for every clip and channel (claim tam-kernel)."""
    theta, a = randomise(Attention(8, 4).double()).kernels_and_gates(clip(8, 8, 3, 3))
    assert theta.shape == (2, 8, 3)
    assert (theta > 0).all()
    torch.testing.assert_close(theta.sum(-1), torch.ones(2, 8, dtype=torch.float64))
    assert a.shape == (2, 8, 4)


def test_kernel_is_the_same_at_every_pixel() -> None:
    """Given the means, a pixel's output is a fixed mixture of that pixel's own frames (claim tam-kernel)."""
    module = randomise(Attention(4, 3).double()).eval()
    x = clip(3, 4, 2, 2)
    rolled = x.roll((1, 1), (2, 3))  # the means stay
    torch.testing.assert_close(module(rolled), module(x).roll((1, 1), (2, 3)))


@pytest.mark.parametrize("k", [3, 5])
def test_static_clip(k: int) -> None:
    """On identical frames the interior output frames are equal, those near the ends not (claim tam-static-clip)."""
    frames = 12
    module = randomise(Attention(4, frames, kernel_size=k).double()).eval()
    y = module(clip(1, 4, 3, 3).expand(frames, -1, -1, -1).contiguous())
    inside = y[k - 1 : frames - (k - 1)]
    torch.testing.assert_close(inside, inside[:1].expand_as(inside))
    assert not torch.allclose(y[0], y[frames // 2])


def test_hand_computed_mixture() -> None:
    """Frames 1, 2, 4 under kernel (1, 10, 100): 1*10+2*100, 1+2*10+4*100, 2+4*10: not flipped, zeros beyond."""
    x = torch.tensor([1.0, 2.0, 4.0], dtype=torch.float64).view(1, 3, 1, 1, 1)
    mix = torch.tensor([1.0, 10.0, 100.0], dtype=torch.float64).view(1, 1, 3, 1).expand(1, 3, 3, 1)
    assert _TemporalMix.apply(x, mix).flatten().tolist() == [210.0, 421.0, 42.0]


def test_gates_belong_to_the_frames_read() -> None:
    """y_t = sum_j theta_j a_{t+j-1} x_{t+j-1}: the gate is taken before the mixture."""
    module = randomise(Attention(4, 5).double()).eval()
    x = clip(10, 4, 2, 3)
    theta, a = module.kernels_and_gates(x)
    v = x.unflatten(0, (2, 5)) * a.transpose(1, 2)[..., None, None]  # (N, T, C, H, W)
    padded = torch.cat((torch.zeros_like(v[:, :1]), v, torch.zeros_like(v[:, :1])), dim=1)
    expected = sum(theta[:, None, :, j, None, None] * padded[:, j : j + 5] for j in range(3))
    torch.testing.assert_close(module(x), expected.flatten(0, 1))


def test_kernel_of_one_frame_leaves_the_gate() -> None:
    """With K = 1 every frame is multiplied by its own gate only."""
    module = randomise(Attention(4, 3, kernel_size=1).double()).eval()
    x = clip(6, 4, 2, 2)
    a = module.kernels_and_gates(x)[1].transpose(1, 2).flatten(0, 1)
    torch.testing.assert_close(module(x), x * a[..., None, None])


@pytest.mark.parametrize(("frames", "k"), [(2, 5), (4, 3)])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=["contiguous", "last"])
def test_gradients_of_the_mixture(frames: int, k: int, layout: torch.memory_format) -> None:
    """The written gradient equals finite differences, also where the kernel is longer than the clip."""
    x = clip(2 * frames, 3, 2, 2).to(memory_format=layout).unflatten(0, (2, frames)).requires_grad_()
    mix = clip(2, frames, k, 3).requires_grad_()
    assert torch.autograd.gradcheck(_TemporalMix.apply, (x, mix))


def test_channels_last_is_kept() -> None:
    """A channels_last clip comes back channels_last: no copy is made for the next convolution."""
    x = clip(8, 8, 4, 4).to(memory_format=torch.channels_last)
    assert Attention(8, 4).double()(x).is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(
    ("frames", "options"),
    [(1, {}), (4, {"kernel_size": 4}), (4, {"alpha": 0}), (4, {"beta": 0})],
    ids=str,
)
def test_refusals(frames: int, options: dict[str, Any]) -> None:
    """One frame, an even kernel and ratios below 1 are refused."""
    with pytest.raises(ValueError, match=r"at least|odd"):
        Attention(8, frames, **options)
