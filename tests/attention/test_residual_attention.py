"""Own facts of the Residual Attention Network."""

import json
import re
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from attncli.attention.channel_spatial.residual_attention import Attention, AttentionModule, MaskBranch, ResidualUnit
from tests.attention.case import randomise
from tests.shared import shared

OPTIONS: list[dict[str, Any]] = [
    {},
    {"modules": (1, 2, 1)},
    {"width": 16},
    {"levels": (1, 1, 1)},
    {"levels": (3, 0, 2)},
    *(
        {"levels": (1, 0, 0)} | option
        for option in ({"p": 2}, {"t": 1}, {"r": 2}, {"mask": "naive"}, {"sums": True}, {"pool": True})
    ),
]
FACTS: list[dict[str, Any]] = [{"size": (12, 8), "channels_in": 1}]


def unit(i: int, o: int, stride: int = 1) -> int:
    """A residual unit from width i to o: three convolutions, three norms, the shortcut where it is needed."""
    return i * o // 4 + 9 * (o // 4) ** 2 + o * o // 4 + 2 * i + o + (i * o if i != o or stride > 1 else 0)


def module_parameters(c: int, n: int, p: int = 1, t: int = 2, r: int = 1) -> int:
    """2p + t units around, 2r at the bottom, 2r + 1 for every further level, and the head."""
    return (2 * p + t + 2 * r + max(n - 1, 0) * (2 * r + 1)) * unit(c, c) + 2 * c * c + 4 * c


def parameters(facts: dict[str, Any], options: dict[str, Any]) -> int:
    """Stem, three stages, three units, norm and head, in the form that suits the size."""
    side = min(facts["size"])
    large = side > 64
    w = options.get("width", 256 if large else 128 if side >= 24 else 32)
    ptr = [options.get(k, d) for k, d in (("p", 1), ("t", 2), ("r", 1))]
    total, c = (49 if large else 9) * facts["channels_in"] * (w // 4) + 2 * (w // 4), w // 4
    levels = options.get("levels", (3, 2, 1) if large else (2, 1, 0))
    stages = zip(options.get("modules", (1, 1, 1)), levels, strict=True)
    for i, (count, n) in enumerate(stages):
        total += unit(c, w * 2**i, 1 if i == 0 else 2) + count * module_parameters(w * 2**i, n, *ptr)
        c = w * 2**i
    return total + unit(c, 2 * c) + 2 * unit(2 * c, 2 * c) + 4 * c + 2 * c * facts["classes"] + facts["classes"]


UNIT = ((".bn", ".norm"), (".conv4", ".project"))
CIFAR = {
    "down_residual_blocks1": "mask.down.0.0",
    "middle_2r_blocks": "mask.bottom",
    "up_residual_blocks1": "mask.up.0.0",
    "conv1_1_blocks": "mask.head",
}


def official(meta: dict[str, Any], params: dict[str, Tensor]) -> tuple[nn.Module, dict[str, Tensor]]:
    """AttentionModule_*(in_channels, out_channels, sizes) of the port, with numbered or (CIFAR) named mask parts."""
    numbered = {int(m[1]) for k in params if (m := re.match(r"softmax(\d)_blocks", k))}
    if numbered:
        n = max(numbered) // 2
    else:
        n = 2 if any(k.startswith("skip1") for k in params) else 0 if "stage3_cifar" in meta["cls"] else 1
    c = (meta.get("ctor") or meta["args"])["in_channels"]
    state = {place(k, n): v for k, v in params.items()}
    freed = meta["cls"].endswith("_pre") or any("additions" in patch for patch in meta.get("patches", []))
    unused = [k for k in state if ".project." in k]  # the released class makes it everywhere, used or not
    return AttentionModule(c, n, sums=meta.get("sums", not freed)), {k: v for k, v in state.items() if k not in unused}


def place(name: str, n: int) -> str:
    """Our name for one of the port's, in a module with n levels."""
    head, rest = name.split(".", 1)
    if m := re.match(r"softmax(\d)_blocks", head):
        k = int(m[1])
        parts = [f"mask.down.{i}.0" for i in range(n - 1)] + ["mask.bottom"]
        parts += [f"mask.up.{i}.0" for i in reversed(range(n - 1))] + ["mask.head"]
        head = parts[k - 1]
    elif m := re.match(r"skip(\d)_", head):
        head = f"mask.skip.{int(m[1]) - 1}"
    else:
        fixed = {"first_residual_blocks": "before.0", "trunk_branches": "trunk", "last_blocks": "after.0", **CIFAR}
        head = fixed[head]
    name = f"{head}.{rest}"
    if head != "mask.head":
        for theirs, ours in UNIT:
            name = name.replace(theirs, ours)
    return name


def fixture(stem: str) -> tuple[dict[str, Any], dict[str, Tensor], dict[str, Tensor]]:
    """(meta, arrays, official parameters) of a parity fixture."""
    arrays = np.load(shared(f"parity/{stem}.npz"))
    data = {k: torch.from_numpy(arrays[k]) for k in arrays.files if k != "meta"}
    params = {k.removeprefix("param/"): v for k, v in data.items() if k.startswith("param/")}
    return json.loads(str(arrays["meta"])), data, params


@pytest.mark.parametrize("stem", ["residual-attention", "residual-attention-b", "residual-attention-c"])
def test_sums_are_the_port(stem: str) -> None:
    """With sums=True the module is the port's released class; the running statistics also agree."""
    meta, data, params = fixture(stem)
    module, state = official({**meta, "sums": True}, params)
    module.double().load_state_dict(state)
    torch.testing.assert_close(module.eval()(data["x"]), data["y_added_trunk"], rtol=1e-9, atol=1e-9)
    module, state = official(meta, params)
    module.double().load_state_dict(state)
    module.train()(data["x"])
    levels = module.mask.levels
    after = {k.removeprefix("after_train/"): v for k, v in data.items() if k.startswith("after_train/")}
    found = module.state_dict()
    for name, value in after.items():
        torch.testing.assert_close(found[place(name, levels)], value, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(("modules", "count"), [((1, 1, 1), 31_810_728), ((1, 2, 3), 52_466_344)])
def test_parameters_of_the_published_networks(modules: tuple[int, ...], count: int) -> None:
    """Attention-56 has 31,810,728 and Attention-92 52,466,344 parameters (claim ran-params)."""
    with torch.device("meta"):
        module = Attention(1000, (224, 224), modules=modules)
    assert sum(p.numel() for p in module.parameters()) == count


def test_multiply_adds_of_attention_56() -> None:
    """Attention-56 needs 6.27 G multiply-adds at 224 pixels (claim ran-flops)."""
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        Attention(1000, (224, 224)).eval()(torch.empty(1, 3, 224, 224))
    assert counter.get_total_flops() / 2 == pytest.approx(6.271e9, abs=1e7)


@pytest.mark.parametrize(("pool", "first", "gmacs"), [(False, 32, 1.09), (True, 16, 1.09 / 4)])
def test_cifar_form(pool: bool, first: int, gmacs: float) -> None:
    """At 32 px the first module sees 32x32, the last 8x8; Attention-92 has about 12.2 M parameters, 1.09 G adds.

    With a pool in the stem all maps have half that side, and the adds are a quarter.
    """
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        module = Attention(10, (32, 32), modules=(1, 2, 3), pool=pool).eval()
        sizes: list[int] = []
        for m in module.modules():
            if isinstance(m, AttentionModule):
                m.register_forward_hook(lambda _m, _i, y: sizes.append(y.shape[-1]))
        module(torch.empty(1, 3, 32, 32))
    assert sizes == [first // k for k in (1, 2, 2, 4, 4, 4)]
    assert sum(p.numel() for p in module.parameters()) / 1e6 == pytest.approx(12.2, abs=0.05)
    assert counter.get_total_flops() / 2e9 == pytest.approx(gmacs, abs=0.01)


def test_factor_on_the_trunk() -> None:
    """The trunk is multiplied by 1 + M, between 1 and 2, or by M where the mask is naive (claim ran-factor)."""
    module = randomise(AttentionModule(16, 2).double()).eval()
    naive = AttentionModule(16, 2, naive=True).double().eval()
    naive.load_state_dict(module.state_dict())
    x = torch.randn(2, 16, 8, 8, dtype=torch.float64)
    x1 = module.before(x)
    trunk = module.trunk(x1)
    m = module.mask(x1, trunk)
    assert ((m > 0) & (m < 1)).all()
    torch.testing.assert_close(module(x), module.after((1 + m) * trunk))
    torch.testing.assert_close(naive(x), module.after(m * trunk))


def test_fresh_mask_is_near_one_half() -> None:
    """The sigmoid starts near 0.5, so 1 + M near 1.5."""
    torch.manual_seed(0)
    x = torch.randn(2, 32, 16, 16)
    assert MaskBranch(32, 2, 1, False)(x, x).mean().item() == pytest.approx(0.5, abs=0.05)


def test_hand_computed_unit() -> None:
    """With one weight 1 in each layer, channel 1 passes through the bottleneck and is added to channel 2."""
    unit = ResidualUnit(4, 4).double().eval()
    with torch.no_grad():
        for conv in (unit.conv1, unit.conv2, unit.conv3):
            conv.weight.zero_()
        unit.conv1.weight[0, 1] = unit.conv2.weight[0, 0, 1, 1] = unit.conv3.weight[2, 0] = 1.0
    x = torch.arange(16.0, dtype=torch.float64).view(1, 4, 2, 2)
    expected = x.clone()
    expected[:, 2] += x[:, 1]
    torch.testing.assert_close(unit(x), expected, rtol=1e-4, atol=0)  # three norms with eps 1e-5


def test_one_level_mask_equals_the_formula() -> None:
    """n = 1: pool, two units, upsample with aligned corners, head; nothing is added on the way."""
    mask = randomise(MaskBranch(16, 1, 1, False).double()).eval()
    x = torch.randn(1, 16, 6, 5, dtype=torch.float64)
    z = mask.bottom(F.max_pool2d(x, 3, 2, 1))
    z = F.interpolate(z, size=(6, 5), mode="bilinear", align_corners=True)
    torch.testing.assert_close(mask(x, torch.zeros_like(x)), mask.head(z).sigmoid())


def test_large_form_runs_at_any_size() -> None:
    """Above 64 px the stem quarters the size; sides need not be powers of two."""
    module = Attention(5, (70, 65), width=16).eval()
    sizes: list[tuple[int, ...]] = []
    module.stages[0].register_forward_hook(lambda _m, _i, y: sizes.append(tuple(y.shape[2:])))
    with torch.no_grad():
        assert module(torch.randn(2, 3, 70, 65)).shape == (2, 5)
    assert sizes == [(18, 17)]


@pytest.mark.parametrize(
    "options",
    [{"modules": (1, 1)}, {"modules": (0, 1, 1)}, {"levels": (1, 1)}, {"levels": (1, 1, -1)}, {"width": 20}, {"t": 0}],
    ids=str,
)
def test_refusals(options: dict[str, Any]) -> None:
    """Other than three stages, negative depths, odd widths and counts below 1 are refused."""
    with pytest.raises(ValueError, match=r"needed|at least 1"):
        Attention(5, (32, 32), **options)
