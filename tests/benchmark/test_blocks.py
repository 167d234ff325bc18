"""The bench of the blocks: what is timed, against what, and how it is told."""

import math
import sys
import types

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from attncli import attention
from attncli.benchmark import blocks, timm_blocks
from attncli.benchmark.blocks import (
    BlockSetup,
    BlockTiming,
    ReferenceTiming,
    bench_blocks,
    describe_reference,
    format_block_row,
    list_block_mechanisms,
)

SHAPE = (8, 16, 6, 6)
CPU = torch.device("cpu")


def timed(*wanted: str, shapes=(SHAPE,), precisions=("fp32",), **options) -> list[ReferenceTiming | BlockTiming]:
    """A short bench."""
    return list(bench_blocks(wanted, shapes=shapes, precisions=precisions, repeats=1, **options))


def test_every_map_mechanism_is_named() -> None:
    """All mechanisms but whole models and classifiers of clips, which take no map."""
    left_out = set(attention.mechanism_names()) - set(list_block_mechanisms())
    assert {attention.describe_mechanism(n).card.site for n in left_out} == {"model", "frames-head"}


def test_rows_follow_their_reference(monkeypatch) -> None:
    """Each shape and precision begins with its reference; every row has its milliseconds and ratios."""
    monkeypatch.setattr(blocks, "MIN_SAMPLE_SECONDS", 0.0)
    found = timed("se", "sk", shapes=(SHAPE, (4, 8, 4, 4)), precisions=("fp32", "bf16"))
    kinds = [type(item).__name__ for item in found]
    assert kinds == ["ReferenceTiming", "BlockTiming", "BlockTiming"] * 4
    assert [(i.shape, i.precision) for i in found[::3]] == [
        (s, p) for s in (SHAPE, (4, 8, 4, 4)) for p in ("fp32", "bf16")
    ]
    for row in (i for i in found if isinstance(i, BlockTiming)):
        assert row.note == ""
        assert min(row.ms, row.conv_ratio, row.floor_ratio) > 0


def test_ratios_are_taken_round_by_round(monkeypatch) -> None:
    """A row's ratios are medians of its own rounds: block over convolution, block over copy."""
    monkeypatch.setattr(
        blocks, "_time_in_turn", lambda works, device, n: [[4.0, 8.0, 2.0], [1.0, 1.0, 1.0], [2.0, 2.0, 2.0]]
    )
    row = blocks._time_block("se", BlockSetup(SHAPE, "fp32", True, CPU), 3)
    assert (row.ms, row.conv_ratio, row.floor_ratio, row.timm_ratio) == (2000.0, 0.5, 2.0, None)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("channels_last", [True, False])
def test_blocks_get_maps_as_in_training(precision: str, channels_last: bool) -> None:
    """Maps have the layout and the number format asked for, and the block its gradients."""
    seen = []

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(16, 16, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = self.conv(x)
            seen.append((x.dtype, y.dtype, x.is_contiguous(memory_format=torch.channels_last), self.training))
            return y

    gradients = blocks._make_training_step(Block(), BlockSetup(SHAPE, precision, channels_last, CPU))()
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    assert set(seen) == {(dtype, dtype, channels_last, True)}
    assert [g.shape for g in gradients] == [SHAPE, (16, 16, 1, 1), (16,)]


def test_join_gets_branch_and_shortcut(monkeypatch) -> None:
    """A mechanism that replaces the sum is timed with its three maps."""
    monkeypatch.setattr(blocks, "MIN_SAMPLE_SECONDS", 0.0)
    assert timed("highway")[1].ms > 0


def test_what_does_not_fit_gives_its_reason(monkeypatch, tmp_path) -> None:
    """A mechanism that can't be built for a shape is a row with a note, and the bench goes on."""
    monkeypatch.setattr(blocks, "MIN_SAMPLE_SECONDS", 0.0)
    mine = tmp_path / "mine.py"
    mine.write_text(
        "from torch import nn\nfrom attncli.attention.card import Card\n"
        "card = Card(title='t', venue='v', year=2020, arxiv=None, site='gate', code='c')\n"
        "class Attention(nn.Module):\n"
        "    def __init__(self, channels: int) -> None:\n        raise ValueError('needs 7 channels')\n"
    )
    _, failed, fine = timed(str(mine), "simam")
    assert (failed.note, failed.ms) == ("needs 7 channels", None)
    assert fine.ms > 0


class Operations(TorchDispatchMode):
    """Notes the names of what is computed, and the shape of each result."""

    def __init__(self) -> None:
        super().__init__()
        self.found = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        """Compute as ever."""
        made = func(*args, **(kwargs or {}))
        self.found += [(func.__name__.partition(".")[0], tuple(t.shape)) for t in tree_leaves(made) if t is not None]
        return made


def test_references_are_a_convolution_and_a_copy(monkeypatch) -> None:
    """The first is a 3x3 convolution of the map, there and back; the floor gives a map and multiplies nothing."""
    shape, noted = (16, 32, 8, 8), []

    def timed_works(works, device, repeats):
        for work in works:
            with Operations() as operations:
                work()
            noted.append(operations.found)
        return [[0.004], [0.001]]

    monkeypatch.setattr(blocks, "_time_in_turn", timed_works)
    (reference,) = timed(shapes=(shape,))
    convolution, copy = noted
    assert {("convolution", shape), ("convolution_backward", (32, 32, 3, 3))} <= {*convolution}
    assert shape in {s for _, s in copy}
    assert not any("conv" in name or "mm" in name for name, _ in copy)
    assert (reference.conv_ms, reference.floor_ms) == (4.0, 1.0)
    assert reference.copy_gb_per_s == pytest.approx(2 * 4 * math.prod(shape) / 0.001 / 1e9)


def test_text_of_rows() -> None:
    """Rows and captions read well; what was not timed shows as a dash with the reason."""
    row = BlockTiming(
        attn="se", category="channel", shape=SHAPE, precision="fp32", ms=1.234, conv_ratio=0.5, floor_ratio=3.21
    )
    assert format_block_row(row) == ("se", "8x16x6x6", "fp32", "1.23", "0.50", "3.2", "-", "-", "")
    failed = BlockTiming(attn="se", category="channel", shape=SHAPE, precision="fp32", note="why")
    assert format_block_row(failed)[3:] == ("-", "-", "-", "-", "-", "why")
    assert len(format_block_row(row)) == len(blocks.COLUMNS)
    reference = ReferenceTiming(shape=SHAPE, precision="bf16", conv_ms=2.0, floor_ms=0.5, copy_gb_per_s=33.3)
    assert describe_reference(reference) == "8x16x6x6 bf16: 3x3 convolution 2.00 ms, copy 0.500 ms (33 GB/s)"


def test_timm_is_compared_where_it_is_there(monkeypatch) -> None:
    """With timm installed a block that it has gets a ratio to it; without timm, or for others, there is none."""
    monkeypatch.setattr(blocks, "MIN_SAMPLE_SECONDS", 0.0)
    stub = types.ModuleType("timm")
    for name in ("layers", "layers.cbam", "layers.coord_attn"):
        module = types.ModuleType(f"timm.{name}")
        monkeypatch.setitem(sys.modules, f"timm.{name}", module)
    stub.layers = sys.modules["timm.layers"]
    stub.layers.cbam, stub.layers.coord_attn = sys.modules["timm.layers.cbam"], sys.modules["timm.layers.coord_attn"]
    stub.layers.SEModule = lambda channels, **_: nn.Conv2d(channels, channels, 1)
    monkeypatch.setitem(sys.modules, "timm", stub)
    _, se, eca, simam = timed("se", "eca", "simam")
    assert (se.timm, eca.timm, simam.timm) == ("SEModule", None, None)
    assert se.timm_ratio > 0
    for name in ("timm", "timm.layers"):
        monkeypatch.setitem(sys.modules, name, None)
    assert timm_blocks.find_timm_block("se", 16, (6, 6)) is None


@pytest.mark.parametrize("name", sorted(timm_blocks._MAKERS))
def test_rivals_compute_the_same(name: str) -> None:
    """timm's block has the shape of ours and about as many parameters (biases and rounding apart)."""
    pytest.importorskip("timm")
    made = timm_blocks.find_timm_block(name, 64, (8, 8))
    assert made is not None
    facts = {
        k: v
        for k, v in BlockSetup((2, 64, 8, 8), "fp32", True, CPU).site_facts.items()
        if k in attention.describe_mechanism(name).site_arguments
    }
    ours = attention.load(name).Attention(**facts)
    x = torch.randn(2, 64, 8, 8)
    assert made[1](x).shape == ours(x).shape
    ratio = sum(p.numel() for p in made[1].parameters()) / sum(p.numel() for p in ours.parameters())
    assert 0.8 < ratio < 1.25
    difference = timm_blocks.measure_output_difference(name, 64, (8, 8))
    assert (difference is None) == (name not in timm_blocks._RENAMED)
    assert difference is None or difference < 1e-12


def test_difference_of_outputs_is_a_share(monkeypatch) -> None:
    """A block that returns 1.5 times ours on our weights is half of the largest output away."""

    class Louder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv1d(1, 1, 3, padding=1, bias=False)

        def forward(self, x):
            return 1.5 * x * torch.sigmoid(self.conv(x.mean((2, 3))[:, None])).transpose(1, 2)[..., None]

    monkeypatch.setattr(timm_blocks, "find_timm_block", lambda name, *_: ("Louder", Louder()))
    assert timm_blocks.measure_output_difference("eca", 16, (4, 4)) == pytest.approx(0.5)
    assert timm_blocks.measure_output_difference("simam", 16, (4, 4)) is None
