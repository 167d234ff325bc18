"""Own facts of SCSA."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from attncli.attention.channel_spatial.scsa import Attention
from tests.attention.case import randomise

OPTIONS: list[dict[str, Any]] = [
    {},
    {"heads": 4, "window": 3},
    {"window": 0},
    {"kernels": (3, 5), "qkv_bias": True, "window": 2},
]
STRIPS = ("local_dwc", "global_dwc_s", "global_dwc_m", "global_dwc_l")


def parameters(facts: dict[str, Any], options: dict[str, Any]) -> int:
    """Kernels sum(k) C / parts + C, norms 6 C, a number per channel for q, k and v (and a bias each)."""
    c, kernels = facts["channels"], options.get("kernels", (3, 5, 7, 9))
    return sum(kernels) * c // len(kernels) + c + 6 * c + 3 * c * (2 if options.get("qkv_bias") else 1)


def official(meta: dict[str, Any], params: dict[str, Tensor]) -> tuple[nn.Module, dict[str, Tensor]]:
    """SCSA(dim, head_num, window_size, group_kernel_sizes, qkv_bias)."""
    ctor = meta["ctor"]
    module = Attention(
        ctor["dim"],
        heads=ctor["head_num"],
        window=max(ctor["window_size"], 0),
        kernels=tuple(ctor["group_kernel_sizes"]),
        qkv_bias=ctor["qkv_bias"],
    )
    names = {f"{layer}.": f"strips.{i}." for i, layer in enumerate(STRIPS)}
    names |= {"norm_h.": "norm_rows.", "norm_w.": "norm_columns.", "norm.": "norm."}
    state = {}
    for name, value in params.items():
        layer, leaf = name.split(".")
        if layer not in "qkv":
            state[f"{names[layer + '.']}{leaf}"] = value
    state["qkv"] = torch.stack([params[f"{k}.weight"].view(-1, 1) for k in "qkv"])
    if ctor["qkv_bias"]:
        state["qkv_bias"] = torch.stack([params[f"{k}.bias"].view(-1, 1) for k in "qkv"])
    return module, state


def test_gate_lies_between_zero_and_one() -> None:
    """y / x is a product of three sigmoids (claim scsa-range)."""
    module = randomise(Attention(16).double())
    x = torch.randn(2, 16, 9, 8, dtype=torch.float64)
    g = module(x) / x
    assert 0 < g.min() < g.max() < 1


def test_channels_attend_within_their_head() -> None:
    """Rows of A sum to 1; with 4 heads of 4 channels a channel's gate depends on its head only."""
    module = randomise(Attention(16, heads=4, window=2).double())
    q, k, _ = module.project_windows(torch.randn(1, 16, 4, 4, dtype=torch.float64))
    torch.testing.assert_close(module.attend_channels(q, k).sum(3), torch.ones(1, 4, 4, dtype=torch.float64))
    q = torch.randn(1, 16, 4, 4, dtype=torch.float64)
    module.norm = nn.GroupNorm(4, 16).double()  # the norm over all channels is the other way to meet
    q.requires_grad_()
    module.compute_channel_gate(q)[0, 5].backward()
    assert q.grad[0].abs().sum((1, 2)).nonzero().flatten().tolist() == [4, 5, 6, 7]


def test_rows_beyond_a_window_do_not_count() -> None:
    """On a 9 x 7 map with windows of 7 the last two rows do not reach the channel gate."""
    module = randomise(Attention(8).double())
    x = torch.randn(1, 8, 9, 7, dtype=torch.float64)
    changed = x.clone()
    changed[:, :, 7:] += 1
    torch.testing.assert_close(module.compute_channel_gate(x), module.compute_channel_gate(changed))


@pytest.mark.parametrize(
    ("channels", "options", "word"),
    [
        (10, {}, "4 kernels"),
        (8, {"heads": 3}, "3 heads"),
        (8, {"kernels": (2, 3)}, "odd"),
        (8, {"window": -1}, "window"),
    ],
)
def test_refusals(channels: int, options: dict[str, Any], word: str) -> None:
    """Quarters, heads and kernels must come out even, or odd."""
    with pytest.raises(ValueError, match=word):
        Attention(channels, **options)
