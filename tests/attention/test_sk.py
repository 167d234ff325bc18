"""Own facts of SK."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from attncli import attention
from attncli.attention.branch.sk import Attention, BranchSelection
from tests.attention.case import randomise

OPTIONS: list[dict[str, Any]] = [
    {},
    {"dilations": (1, 2, 3)},
    {"kernel": 5},
    {"kernel": (3, 5), "dilations": (1, 1)},
    {"branch_groups": 4},
    {"branch_groups": (4, 8), "kernel": (3, 5), "dilations": (1, 1)},
    {"dilations": (2,), "selection": False},
    {"r": 2},
    {"min_hidden": 8},
    {"split_input": True},
    {"selection": False},
]
FACTS = [{}, {"channels_in": 16, "channels": 48, "stride": 2, "groups": 8, "size": (10, 7)}]


def parameters(facts: dict[str, Any], options: dict[str, Any]) -> int:
    """Sum over M branches of k^2 C_in C / G + 2 C, and C d + 2 d + M d C for the selection."""
    c, c_in, m = facts["channels"], facts["channels_in"], len(options.get("dilations", (1, 2)))
    taps = options.get("kernel", 3)
    squares = [k * k for k in (taps if isinstance(taps, tuple) else [taps] * m)]
    c_in = c_in // m if options.get("split_input") else c_in
    d = max(c // options.get("r", 16), options.get("min_hidden", 32))
    given = options.get("branch_groups") or facts["groups"]
    groups = given if isinstance(given, tuple) else [given] * m
    chosen = c * d + 2 * d + m * d * c if options.get("selection", True) else 0
    return sum(k2 * c_in * c // g + 2 * c for k2, g in zip(squares, groups, strict=True)) + chosen


def official(meta: dict[str, Any], params: dict[str, Tensor]) -> tuple[nn.Module, dict[str, Tensor]]:
    """timm's SelectiveKernel: paths.m.conv, paths.m.bn, attn.fc_reduce, attn.bn, attn.fc_select."""
    given = meta.get("ctor") or meta.get("args") or {}
    ctor = {**given, **meta.get("official_ctor", {})}
    m = 1 + max(int(k.split(".")[1]) for k in params if k.startswith("paths."))
    weights = [params[f"paths.{i}.conv.weight"] for i in range(m)]
    c, c_branch, _, _ = weights[0].shape
    sizes = ctor.get("kernel_size") or [3, 5]
    sizes = sizes if isinstance(sizes, list | tuple) else [sizes] * m
    dilation = ctor.get("dilation", 1)
    shrunk = ctor.get("keep_3x3", True)
    groups = min(ctor.get("groups", 1), c)
    split = ctor.get("split_input", True)
    module = Attention(
        c,
        c_branch * groups * (m if split else 1),
        ctor.get("stride", 1),
        groups,
        dilations=tuple(dilation * (k - 1) // 2 if shrunk else dilation for k in sizes),
        kernel=tuple(w.shape[-1] for w in weights),
        r=c,
        min_hidden=params["attn.fc_reduce.weight"].shape[0],
        split_input=split,
    )
    return module, {_rename(k): v.flatten(1) if k.startswith("attn.fc") else v for k, v in params.items()}


def _rename(key: str) -> str:
    if key.startswith("paths."):
        return key.replace("paths.", "branches.").replace(".conv.", ".0.").replace(".bn.", ".1.")
    key = key.replace("fc_reduce", "reduce").replace("fc_select", "expand").replace(".bn.", ".norm.")
    return key.replace("attn.", "select.")


def equal_branches(c: int) -> Attention:
    """SK whose two branches share weights and dilation, everything else random."""
    module = Attention(c, c, dilations=(1, 1)).double()
    randomise(module)
    module.branches[1].load_state_dict(module.branches[0].state_dict())
    return module.eval()


def test_branch_weights_are_positive_and_sum_to_one() -> None:
    """For every sample and channel the branches' weights are a distribution (claim sk-weights)."""
    select = BranchSelection(24, 3, 8).double()
    randomise(select)
    a = select([torch.randn(4, 24, 5, 3, dtype=torch.float64) for _ in range(3)])
    assert a.shape == (4, 3, 24)
    assert (a > 0).all()
    torch.testing.assert_close(a.sum(1), torch.ones(4, 24, dtype=torch.float64))


def test_equal_branches_give_their_common_output() -> None:
    """Where the branches agree, the selection cannot matter (claim sk-equal-branches)."""
    module = equal_branches(16)
    x = torch.randn(2, 16, 6, 5, dtype=torch.float64)
    torch.testing.assert_close(module(x), module.branches[0](x))


def test_hand_computed_selection() -> None:
    """One channel, branch outputs 2 and 6, selection logits log 3 and 0: y = 3/4 * 2 + 1/4 * 6 = 3."""
    select = BranchSelection(1, 2, 1).double().eval()
    with torch.no_grad():
        select.reduce.weight.fill_(1 / 8)  # mean of the sum is 8
        select.norm.running_var.fill_(1 - select.norm.eps)
        select.expand.weight.copy_(torch.tensor([[3.0], [1.0]]).log())
    u = [torch.full((1, 1, 2, 2), v, dtype=torch.float64) for v in (2.0, 6.0)]
    a = select(u)[0, :, 0]
    torch.testing.assert_close(a, torch.tensor([0.75, 0.25], dtype=torch.float64))
    assert (a * torch.tensor([2.0, 6.0])).sum().item() == pytest.approx(3)


def test_output_is_never_negative() -> None:
    """The ReLU of the host that follows changes nothing."""
    module = randomise(Attention(8, 8).double()).train()
    assert (module(torch.randn(4, 8, 6, 6, dtype=torch.float64)) >= 0).all()


def test_without_selection_the_branches_are_summed() -> None:
    """selection=False is the paper's ablation: the plain sum."""
    module = randomise(Attention(8, 8, selection=False).double()).eval()
    x = torch.randn(2, 8, 6, 6, dtype=torch.float64)
    torch.testing.assert_close(module(x), module.branches[0](x) + module.branches[1](x))


def test_groups_of_each_branch() -> None:
    """A 3x3 with 4 groups beside a true 5x5 with 8 equals the formula with plain convolutions (claim sk-dilated)."""
    module = randomise(Attention(8, 8, kernel=(3, 5), dilations=(1, 1), branch_groups=(4, 8), min_hidden=3).double())
    module.eval()
    x = torch.randn(2, 8, 6, 5, dtype=torch.float64)
    u = [
        norm(F.conv2d(x, conv.weight, padding=k // 2, groups=g)).relu()
        for (conv, norm, _), k, g in zip(module.branches, (3, 5), (4, 8), strict=True)
    ]
    select = module.select
    z = select.norm((u[0] + u[1]).mean((2, 3)) @ select.reduce.weight.T).relu()
    first, second = (z @ select.expand.weight.T).split(8, 1)
    a = torch.sigmoid(first - second)[:, :, None, None]  # softmax of two
    torch.testing.assert_close(module(x), a * u[0] + (1 - a) * u[1])


def test_one_branch_is_a_convolution_with_its_norm() -> None:
    """A dilated 3x3 alone spans 5x5, as the paper's ablation of single kernels has it."""
    module = randomise(Attention(8, 8, dilations=(2,), selection=False).double()).eval()
    conv, norm, _ = module.branches[0]
    x = torch.randn(2, 8, 6, 5, dtype=torch.float64)
    torch.testing.assert_close(module(x), norm(F.conv2d(x, conv.weight, padding=2, dilation=2)).relu())


def test_parameters_of_published_networks() -> None:
    """SK in place of conv and norm: resnext50_32x4d 27,479,784 (sk-params); ResNet-18 and -50, G = 1, as the card."""

    def added(places: list[tuple[int, int]], groups: int) -> int:
        with torch.device("meta"):
            new = sum(p.numel() for c_in, c in places for p in Attention(c, c_in, groups=groups).parameters())
        return new - sum(9 * c_in * c // groups + 2 * c for c_in, c in places)

    def stages(width: int) -> list[tuple[int, int]]:
        return [(width * 2**s,) * 2 for s, n in enumerate((3, 4, 6, 3)) for _ in range(n)]

    assert 25_028_904 + added(stages(128), 32) == 27_479_784
    assert added(stages(64), 1) == 11_688_320
    basic = [(64, 64), (64, 64), (64, 128), (128, 128), (128, 256), (256, 256), (256, 512), (512, 512)]
    assert added(basic, 1) == 4_907_264


def test_larger_objects_can_weigh_the_larger_kernel_more() -> None:
    """The weights depend on the input, so the receptive field adapts (claim sk-adaptive-rf, its mechanism)."""
    module = randomise(Attention(8, 8).double()).eval()
    x = torch.randn(1, 8, 8, 8, dtype=torch.float64)
    weights = [module.select([branch(v) for branch in module.branches]) for v in (x, 3 * x)]
    assert (weights[0] - weights[1]).abs().max() > 1e-3


def test_card_puts_it_in_place_of_conv_and_norm() -> None:
    """It brings its own norms and replaces the first convolution of a basic block."""
    card = attention.describe_mechanism("sk").card
    assert (card.site, card.replaces_norm, card.convs) == ("conv", True, "first")


@pytest.mark.parametrize(
    ("facts", "options", "word"),
    [
        ({}, {"dilations": (1,)}, "nothing to select"),
        ({}, {"dilations": (), "selection": False}, "one or more"),
        ({}, {"branch_groups": (1, 2, 4)}, "branch_groups"),
        ({}, {"kernel": (3, 3, 3)}, "kernel"),
        ({}, {"kernel": 4}, "odd"),
        ({}, {"branch_groups": 5}, "groups"),
        ({"channels_in": 15}, {"split_input": True}, "split"),
    ],
)
def test_refusals(facts: dict[str, int], options: dict[str, Any], word: str) -> None:
    """What does not fit is refused in words that name it."""
    with pytest.raises(ValueError, match=word):
        Attention(**{"channels": 16, "channels_in": 16, **facts}, **options)


def test_dilated_depthwise_branch_reads_no_foreign_memory() -> None:
    """In bf16 and channels_last the gradients are finite whatever lay in memory before."""
    module = Attention(32, 32, groups=32).to(memory_format=torch.channels_last)
    for _ in range(5):
        held = [torch.full((1 << k,), float("nan")) for k in (10, 12, 14, 16, 18, 20)]
        x = torch.randn(4, 32, 32, 32).to(memory_format=torch.channels_last).requires_grad_()
        del held
        with torch.autocast("cpu", torch.bfloat16):
            y = module(x)
        held = [torch.full((1 << k,), float("nan")) for k in (10, 12, 14, 16, 18, 20)]
        del held
        y.float().sum().backward()
        assert x.grad is not None
        assert x.grad.isfinite().all()
        assert all(p.grad.isfinite().all() for p in module.parameters() if p.grad is not None)
