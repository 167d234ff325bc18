"""Activation memory, and the record of what a mechanism costs."""

from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from attncli import attention
from attncli.measure import activation_memory, code_state, cost, fake_tensors
from attncli.measure.activation_memory import count_activation_bytes
from attncli.measure.cost import count_network, count_once, count_recipe_cost
from attncli.measure.flops import count_operations
from attncli.model import InputSpec, build
from attncli.recipe import Model, Recipe
from attncli.records import Cost
from tests.measure.nets import Decides, Tiny, Wrapped


def test_memory_worked_out_by_hand() -> None:
    """6 x 8 px: the convolution keeps its image, ReLU its result, the linear layer the means."""
    assert count_activation_bytes(Tiny(), (6, 8)) == 4 * (3 * 48 + 4 * 48 + 4)


def test_what_is_saved_twice_counts_once() -> None:
    """x * x and exp(x) keep one x and one result; the parameter in p * x does not count."""

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.p = nn.Parameter(torch.ones(3, 4, 4))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = self.p * x  # keeps p and x
            return (y * y + y[:, :1]).exp()  # keeps y and the result

    assert count_activation_bytes(Net(), (4, 4)) == 4 * (3 * 48)


def test_masks_count_in_their_own_size() -> None:
    """Dropout keeps a mask of one byte a number; max-pooling keeps its places in 8 bytes."""
    scale = nn.Parameter(torch.ones(3, 1, 1))
    pooled = Wrapped(lambda x: nn.functional.max_pool2d(x * scale, 2))
    assert count_activation_bytes(pooled, (4, 4)) == 4 * 48 + 4 * 48 + 8 * 12


def test_imagined_and_real_memory_agree(monkeypatch) -> None:
    """The figures are the same when the network really runs."""
    nets = [Tiny(attention.load(n).Attention(4)) for n in ("se", "cbam")]
    imagined = [count_activation_bytes(net, (16, 16)) for net in nets]
    monkeypatch.setattr(fake_tensors, "_examine_fake", lambda *_: 1 / 0)
    assert [count_activation_bytes(net, (16, 16)) for net in nets] == imagined
    assert activation_memory.BATCH >= 2


LEARNS = nn.Parameter(torch.ones(3, 1, 1))
MASK = torch.zeros(4, 4)


@pytest.mark.parametrize(
    ("name", "attend", "kept"),
    [
        ("heads", lambda x: F.scaled_dot_product_attention(x, x, x), 2 * 48 + 12),
        ("no heads", lambda x: F.scaled_dot_product_attention(*x.unbind(1)), 48 + 16 + 4),
        ("keys shared", lambda x: F.scaled_dot_product_attention(x, x[:, :1], x[:, :1]), 2 * 48 + 12),
        ("mask", lambda x: F.scaled_dot_product_attention(x, x, x, MASK), 2 * 48 + 12 + 8),
        ("dropout", lambda x: F.scaled_dot_product_attention(x, x, x, dropout_p=0.5), 2 * 48 + 12),
    ],
)
def test_attention_keeps_no_weights(name: str, attend, kept: int) -> None:
    """It keeps queries, keys and values, here one map, its result and a number for each query; a batch has one mask."""
    image = 48  # of which LEARNS makes the map
    assert count_activation_bytes(Wrapped(lambda x: attend(x * LEARNS)), (4, 4)) == 4 * (image + kept)


def test_attention_that_learns_nothing_keeps_nothing() -> None:
    """As any other operation."""
    assert count_activation_bytes(Wrapped(lambda x: F.scaled_dot_product_attention(x, x, x)), (4, 4)) == 0


@pytest.mark.parametrize(
    ("attn", "frames", "expected"),
    [
        ("none", None, (40_551_040, 475_200, 1_522_624)),
        ("vit", None, (125_341_824, 474_624, 3_618_992)),
        ("gltr", 4, (164_934_656, 1_908_480, 6_129_360)),
        ("danet", None, (41_697_920, 499_776, 1_608_640)),
    ],
)
def test_counts_are_those_of_every_version_of_torch(attn: str, frames: int | None, expected: tuple[int, ...]) -> None:
    """Attention by one kernel and by many, in resnet20 at 32 px: MACs, elements written, bytes kept."""
    spec = InputSpec(classes=10, size=(32, 32), frames=frames)
    with torch.device("meta"):
        net = build(recipe(attn), spec)
    assert (*count_operations(net, spec.size, frames), count_activation_bytes(net, spec.size, frames)) == expected


def test_network_that_decides_by_numbers() -> None:
    """It is run in earnest."""
    assert count_activation_bytes(Decides(), (6, 8)) >= count_activation_bytes(Tiny(), (6, 8))


def test_cost_of_a_mechanism() -> None:
    """The record holds both networks' figures; overhead is a percentage of the baseline's."""
    found = cost_here(recipe("se"), InputSpec(classes=10, size=(16, 8)))
    own, plain = (count_network(build(recipe(name), SHAPE), (16, 8)) for name in ("se", "none"))
    for name, figure in asdict(own).items():
        assert getattr(found, name) == figure
        assert getattr(found, f"baseline_{name}") == getattr(plain, name) < figure
    assert found.image_size == 16
    assert found.compute_overhead("params") == pytest.approx(100 * (own.params - plain.params) / plain.params)


def test_counts_of_a_mechanism() -> None:
    """SE with 4 channels and a reduction of 2 adds two matrices without biases to parameters and MACs."""
    se, plain = (
        count_network(Tiny(attention.load("se").Attention(4, reduction=2)), (16, 16)),
        count_network(Tiny(), (16, 16)),
    )
    assert se.params - plain.params == se.macs - plain.macs == 2 * 4 * 2
    assert se.elementwise - plain.elementwise >= 4 * 256
    assert se.activation_bytes > plain.activation_bytes


def test_cost_of_a_clip_is_that_of_its_frames() -> None:
    """A network that folds frames into the batch costs T times what it costs an image."""

    class Fold(Tiny):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x.flatten(0, 1))

    clip, image = count_network(Fold(), (8, 8), frames=4), count_network(Tiny(), (8, 8))
    assert clip.macs == 4 * image.macs
    assert clip.elementwise == 4 * image.elementwise
    assert clip.activation_bytes == 4 * image.activation_bytes


SHAPE = InputSpec(classes=10, size=(8, 8))
OWN = '''"""A mechanism of k numbers."""

import torch
from torch import Tensor, nn
from attncli.attention.card import Card

card = Card(title="Own", venue="none", year=2024, arxiv=None, site="gate", code="none")


class Attention(nn.Module):
    """Weighs x by the mean of k numbers."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.k = nn.Parameter(torch.ones({k}))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.k.mean()
'''


@pytest.fixture
def counts(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Nothing is known, and what is counted from here on is listed."""
    found: list[str] = []
    plain = cost.count_network

    def count(net: torch.nn.Module, *given: object) -> object:
        found.append(type(net).__name__)
        return plain(net, *given)

    monkeypatch.setattr(cost, "_remembered_counts", type(cost._remembered_counts)())
    monkeypatch.setattr(cost, "count_network", count)
    return found


def recipe(attn: str, seed: int = 0) -> Recipe:
    """A small network with a mechanism."""
    return Recipe(model=Model(backbone="resnet20", attn=attn), seed=seed)


def cost_here(one: Recipe, shape: InputSpec = SHAPE) -> Cost:
    """Its cost, as a run asks for it."""
    return count_recipe_cost(one, shape, build(one, shape), lambda: build(one.make_baseline(), shape))


def test_a_network_is_counted_once(counts: list[str]) -> None:
    """Other seeds are not counted again, other mechanisms without the baseline, other images anew; figures agree."""
    first = cost_here(recipe("eca"))
    assert len(counts) == 2
    assert cost_here(recipe("eca", seed=1)) == first
    assert len(counts) == 2
    cost_here(recipe("se"))
    assert len(counts) == 3
    cost_here(recipe("eca"), InputSpec(classes=10, size=(16, 16)))
    assert len(counts) == 5


def test_an_own_file_that_changes_is_counted_anew(counts: list[str], tmp_path: Path) -> None:
    """Its content tells what it is, not its name."""
    file = tmp_path / "own.py"
    params = []
    for k in (1, 20):
        file.write_text(OWN.format(k=k))
        params.append(cost_here(recipe(str(file))).params)
    assert params[1] - params[0] == 9 * 19


def test_a_network_that_decides_by_numbers_is_counted_each_time(counts: list[str]) -> None:
    """Other weights may make it do other work."""
    for _ in range(2):
        count_once(recipe("none"), InputSpec(classes=5, size=(6, 8)), Decides)
    assert counts == ["Decides", "Decides"]


def test_only_so_many_counts_are_kept(counts: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The one that was not asked for longest goes first."""
    monkeypatch.setattr(cost, "MAX_REMEMBERED", 2)
    for size in (4, 5, 4, 6, 4, 5):
        count_once(recipe("none"), InputSpec(classes=5, size=(size, size)), Tiny)
    assert len(counts) == 4
    assert len(cost._remembered_counts) == 2


def test_counts_are_kept_for_other_processes(
    counts: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until the code changes; a damaged file is no harm, and code that may change elsewhere is counted each time."""

    def count(attn: str = "eca") -> object:
        one = recipe(attn)
        cost._remembered_counts.clear()  # as in a new process
        return count_once(one, SHAPE, lambda: build(one, SHAPE), tmp_path)

    first = count()
    assert count() == first
    assert len(counts) == 1
    monkeypatch.setattr(cost, "stamp_code", lambda _: "other code")
    assert count() == first
    assert len(counts) == 2
    (tmp_path / "counts.json").write_text("{")
    assert count() == first
    assert len(counts) == 3
    file = tmp_path / "own.py"
    file.write_text(OWN.format(k=1))
    for calls in (4, 5):
        count(str(file))
        assert len(counts) == calls


def test_the_name_of_the_code_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same name with and without the file; reading all code is left out until a file changes."""
    monkeypatch.setattr(code_state, "_known_hashes", {})
    name = code_state.name_training_code(recipe("none"), tmp_path)
    monkeypatch.setattr(code_state, "_compute_loop", lambda: "read again")
    for folder, expected in ((tmp_path, name), (None, "read again/")):
        monkeypatch.setattr(code_state, "_known_hashes", {})
        assert code_state.name_training_code(recipe("none"), folder) == expected
    monkeypatch.setattr(code_state, "_known_hashes", {})
    monkeypatch.setattr(code_state, "stamp_code", lambda _: "other code")
    assert code_state.name_training_code(recipe("none"), tmp_path) == "read again/"


def test_the_name_of_the_code_has_the_users_network_and_weights(tmp_path: Path) -> None:
    """Their content is a third part; the parts that all runs share, and a mechanism's, stay as they are."""
    network, weights = tmp_path / "net.py", tmp_path / "w.pth"
    network.write_text("class Net: ...\n")
    weights.write_bytes(b"1")
    models = [
        {"backbone": "resnet18"},
        {"backbone": f"{network}:Net", "attn": "eca"},
        {"backbone": "resnet18", "pretrained": str(weights)},
    ]

    def name_parts() -> list[list[str]]:
        recipes = [Recipe.model_validate({"model": model}) for model in models]
        return [code_state.name_training_code(recipe).split("/") for recipe in recipes]

    before = name_parts()
    assert [len(parts) for parts in before] == [2, 3, 3]
    assert len({parts[0] for parts in before}) == 1
    network.write_text("class Net: ...\n\nWIDTH = 2\n")
    weights.write_bytes(b"22")
    after = name_parts()
    assert [parts[:2] for parts in after] == [parts[:2] for parts in before]
    assert after[0] == before[0]
    assert all(one[2] != other[2] for one, other in zip(before[1:], after[1:], strict=True))
