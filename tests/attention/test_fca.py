"""Own facts of FcaNet's gate."""

import math
import warnings
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from attncli.attention.channel import se
from attncli.attention.channel.fca import FREQUENCIES, Attention, dct_basis
from tests.attention.case import randomise

OPTIONS: list[dict[str, Any]] = [
    {},
    {"reduction": 4},
    {"method": "low", "n": 2},
    {"method": "bot", "n": 32},
    {"grid": 14},
    {"grid": (8, 7)},
    {"basis": "dct-learned"},
    {"basis": "random-learned", "grid": 8},
    {"basis": "random"},
]
FACTS: list[dict[str, Any]] = [{}, {"size": (8, 8), "channels": 64}, {"size": (4, 5)}]


def parameters(facts: dict[str, Any], options: dict[str, Any]) -> int:
    """Two layers without biases, as SE's: 2 C max(C // r, 1); C D^2 more where the basis is learned."""
    c, learned = facts["channels"], options.get("basis", "dct").endswith("learned")
    h, w = (options.get("grid", max(side, 7)) for side in facts["size"])
    return 2 * c * max(c // options.get("reduction", 16), 1) + (c * h * w if learned else 0)


def official(meta: dict[str, Any], params: dict[str, Tensor]) -> tuple[nn.Module, dict[str, Tensor]]:
    """MultiSpectralAttentionLayer(channel, dct_h, dct_w, reduction=16, freq_sel_method='top16').

    Our basis is computed here, in float64, not taken from the fixture.
    """
    ctor = meta["ctor"]
    grid, choice = (ctor["dct_h"], ctor["dct_w"]), ctor.get("freq_sel_method", "top16")
    method, n = choice[:3], int(choice[3:])
    with warnings.catch_warnings(action="ignore"):
        module = Attention(
            ctor["channel"], grid, reduction=ctor.get("reduction", 16), method=method, n=n, smallest_grid=1
        )
    return module, {
        "reduce.weight": params["fc.0.weight"],
        "expand.weight": params["fc.2.weight"],
        "basis": dct_basis(grid, method, n),
    }


@pytest.mark.parametrize("grid", [(7, 7), (14, 14), (56, 28)])
def test_basis_is_orthonormal(grid: tuple[int, int]) -> None:
    """Distinct frequencies have inner product 0, equal ones 1 (claim fca-basis)."""
    for method in FREQUENCIES:
        rows = dct_basis(grid, method, 32).flatten(1)
        torch.testing.assert_close(rows @ rows.T, torch.eye(32, dtype=torch.float64), rtol=0, atol=1e-9)


def test_frequencies_are_distinct_and_on_the_7_x_7_grid() -> None:
    """Each list names 32 distinct pairs below 7, the shorter choices are its beginning."""
    for pairs in FREQUENCIES.values():
        assert len(set(pairs)) == len(pairs) == 32
        assert all(0 <= u < 7 and 0 <= v < 7 for u, v in pairs)
    assert torch.equal(dct_basis((7, 7), n=8), dct_basis((7, 7), n=16)[:8])


def test_hand_computed_basis() -> None:
    """On a 14 x 7 grid the first two are 1/sqrt(98) and cos(pi (w + 1/2) / 7) sqrt(2/98)."""
    basis = dct_basis((14, 7), n=2)
    torch.testing.assert_close(basis[0], torch.full((14, 7), 98**-0.5, dtype=torch.float64))
    wave = [math.cos(math.pi * (w + 0.5) / 7) * math.sqrt(2 / 98) for w in range(7)]
    torch.testing.assert_close(basis[1], torch.tensor([wave] * 14, dtype=torch.float64))


def test_lowest_frequency_alone_is_se() -> None:
    """With (0, 0) on a D x D map the vector is D times the mean: SE with W1 scaled by D (claim fca-dc)."""
    module = randomise(Attention(16, (9, 9), reduction=4, n=1)).double()
    module.basis = dct_basis((9, 9), n=1)
    x = torch.randn(2, 16, 9, 9, dtype=torch.float64)
    torch.testing.assert_close(module.compute_spectrum(x), 9 * x.mean((2, 3)), rtol=0, atol=1e-9)
    twin = se.Attention(16, reduction=4).double()
    twin.load_state_dict({"reduce.weight": 9 * module.reduce.weight, "expand.weight": module.expand.weight})
    torch.testing.assert_close(module(x), twin(x), rtol=0, atol=1e-12)


@pytest.mark.parametrize("channels", [16, 64, 2048])
def test_as_many_parameters_as_se(channels: int) -> None:
    """It learns exactly as many numbers as SE without biases (claim fca-params)."""
    ours, theirs = Attention(channels, (7, 7)), se.Attention(channels)
    assert sum(p.numel() for p in ours.parameters()) == sum(p.numel() for p in theirs.parameters())


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("size", [(4, 5), (7, 7), (9, 20)])
def test_other_sizes_are_pooled_to_the_grid(size: tuple[int, int], layout: torch.memory_format) -> None:
    """The folded pooling equals adaptive average pooling to the grid, then the basis."""
    module = Attention(32, (7, 7)).double()
    x = torch.randn(2, 32, *size, dtype=torch.float64).to(memory_format=layout)
    pooled = F.adaptive_avg_pool2d(x, (7, 7))
    expected = (pooled * module.basis.repeat_interleave(2, 0)).sum((2, 3))
    torch.testing.assert_close(module.compute_spectrum(x), expected, rtol=0, atol=1e-12)


def test_pooled_basis_is_exact_under_autocast() -> None:
    """Its cosines keep their 24 bits where the map is smaller than the grid, as they do where it is not."""
    module = Attention(32, (4, 4))
    x = torch.randn(2, 32, 4, 4)
    expected = module.compute_spectrum(x)
    with torch.autocast("cpu", torch.bfloat16):
        spectrum = module.compute_spectrum(x)
    torch.testing.assert_close(spectrum, expected, rtol=1e-6, atol=1e-6)


def test_grid_follows_the_place() -> None:
    """The grid is the map's own size, at least 7; an option fixes it, for all stages or one per stage."""
    grids = [(Attention(32, size).basis.shape[1:]) for size in ((56, 56), (8, 8), (4, 9))]
    assert grids == [(56, 56), (8, 8), (7, 9)]
    assert Attention(32, (9, 9), 3, grid=(56, 28, 14, 7)).basis.shape[1:] == (14, 14)


def test_small_grid_is_se_and_says_so() -> None:
    """With D = 4 every frequency is (0, 0), all slices are 1/4, and a warning tells it (claim fca-degenerate)."""
    with pytest.warns(UserWarning, match="same as SE"):
        module = Attention(32, (4, 4), smallest_grid=1)
    assert torch.equal(module.basis, torch.full((16, 4, 4), 0.25))


def test_learned_basis_starts_from_the_dct_and_moves() -> None:
    """With dct-learned a fresh module is the fixed one, and its basis has a gradient; a random one is other."""
    modules = []
    for basis in ("dct", "dct-learned", "random"):
        torch.manual_seed(0)
        modules.append(Attention(16, (8, 8), basis=basis))
    x = torch.randn(2, 16, 8, 8)
    fixed, learned, random = (module.compute_spectrum(x) for module in modules)
    torch.testing.assert_close(learned, fixed)
    assert not torch.allclose(random, fixed)
    learned.sum().backward()
    assert modules[1].basis.grad.abs().min() > 0
    assert [isinstance(m.basis, nn.Parameter) for m in modules] == [False, True, False]


def test_basis_is_saved_with_the_model() -> None:
    """It is part of the state_dict, so that a checkpoint of one grid does not load into another."""
    state = Attention(32, (8, 8)).state_dict()
    assert state["basis"].shape == (16, 8, 8)
    with pytest.raises(RuntimeError, match="basis"):
        Attention(32, (9, 9)).load_state_dict(state)


@pytest.mark.parametrize(
    ("channels", "options", "message"),
    [
        (24, {}, "24 channels .* n=16"),
        (32, {"method": "mid"}, "mid"),
        (32, {"n": 33}, "n=33"),
        (32, {"grid": 0}, "grid"),
        (32, {"stage": 3, "grid": (8, 8)}, "stage 3"),
        (32, {"reduction": 0}, "reduction"),
    ],
)
def test_refusals(channels: int, options: dict[str, Any], message: str) -> None:
    """Widths that the frequencies do not divide, unknown choices and missing grids are refused."""
    with pytest.raises(ValueError, match=message):
        Attention(channels, (8, 8), **options)
