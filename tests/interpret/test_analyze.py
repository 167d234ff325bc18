"""Every mechanism can be looked at, and what is seen is what the mechanism does."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from attncli import attention
from attncli.attention.channel import se
from attncli.attention.observation import Observation
from attncli.attention.spatial import ram
from attncli.interpret import analyze_attention
from attncli.interpret.hooks import GateKinds, _ObservationHook, recorded_observations
from attncli.interpret.observations import MEASURE_NAMES, SiteDistribution, compute_unit_values
from tests.attention.case import randomise
from tests.interpret.case import trained

KIND = {
    **dict.fromkeys(("psa", "gltr", "danet", "external", "multi-head-external", "self-attention", "vit"), "affinity"),
    **dict.fromkeys(("a2", "aa", "bat", "bot", "criss-cross", "halo", "lambda"), "affinity"),
    **dict.fromkeys(("condconv", "cot", "dyconv", "sk", "splat", "tam"), "choice"),
    "dcn": "offsets",
    "ram": "path",
    "stn": "warp",
}  # what else is seen than gates
SUMS = {"psa", "gltr", "danet", "multi-head-external", "self-attention", "vit", "dyconv", "sk", "tam"}
SUMS |= {"a2", "aa", "bat", "bot", "cot", "criss-cross", "halo", "lambda", "splat"}


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for the decoded digits."""
    return tmp_path_factory.mktemp("cache")


@pytest.mark.parametrize("attn", attention.mechanism_names())
def test_every_mechanism_shows_what_it_does(attn: str, cache: Path) -> None:
    """Each has views of its kind at each site, finite, in the shapes that a View promises, and a spread by image."""
    found = analyze_attention(trained(attn, cache), images=2, sample=12)
    assert len(found.images) == 2
    for image in found.images:
        assert {v.kind for v in image.views} >= {KIND.get(attn, "gate")}
        for v in image.views:
            assert np.isfinite(v.values).all(), v
            assert v.values.ndim == {"gate": 3, "affinity": 2, "choice": 1, "offsets": 4, "path": 2, "warp": 3}[v.kind]
            if v.kind == "gate":
                assert v.channels is not None or v.places is not None
            for grid, length in zip((v.queries, v.keys), v.values.shape, strict=False):
                assert grid is None or grid[0] * grid[1] in (length, length - 1)
    for s in found.distributions:
        assert s.values.shape[0] == 12
        assert s.measure == MEASURE_NAMES[s.kind]
        assert np.isfinite(list(s.to_json_dict()["quartiles"])).all()


@pytest.mark.parametrize("attn", sorted(SUMS))
def test_shares_sum_to_one(attn: str, cache: Path) -> None:
    """A query takes from its keys, and a choice from its branches, 1 in all."""
    for image in analyze_attention(trained(attn, cache), images=1, sample=2).images:
        shares = [v.values for v in image.views if v.kind in ("affinity", "choice")]
        assert shares
        for values in shares:
            np.testing.assert_allclose(values.sum(-1), 1.0, atol=1e-5)


KNOWN: list[tuple[str, dict[str, Any], float]] = [
    ("cbam", {"channel": False}, 0.5),  # sigmoid(0): the norm of its spatial gate starts at weight 0
    ("gct", {}, 1.0),  # 1 + tanh(0)
]


@pytest.mark.parametrize(("attn", "options", "value"), KNOWN)
def test_a_gate_is_known_at_the_start(attn: str, options: dict[str, Any], value: float, cache: Path) -> None:
    """Zero weights give the gate that the formula has for them, the same everywhere."""
    (image,) = analyze_attention(trained(attn, cache, random=False, **options), images=1, sample=2).images
    for view in image.views:
        np.testing.assert_allclose(view.values, value, atol=1e-5)
        assert view.places is None


def test_se_with_zero_weights_halves_everything(cache: Path) -> None:
    """sigmoid(0) = 1/2: a constant gate of channels, at every site."""
    network = trained("se", cache, random=False)
    for m in network.net.modules():
        if isinstance(m, se.Attention):
            torch.nn.init.zeros_(m.get_parameter("expand.weight"))
    found = analyze_attention(network, images=1, sample=12)
    assert len(found.images[0].views) == 9
    for view in found.images[0].views:
        np.testing.assert_allclose(view.values, 0.5, atol=1e-5)
        assert view.channels is not None
        assert view.places is None
    for s in found.distributions:
        assert s.to_json_dict()["mean"] == pytest.approx(0.5, abs=1e-5)
        assert s.to_json_dict()["between_classes"] == pytest.approx(0.0, abs=1e-5)


@pytest.mark.parametrize("classes", [10, 100, 200])
@pytest.mark.parametrize("deviation", [0.0, 0.5])
def test_the_deviation_between_classes_is_that_of_the_classes(classes: int, deviation: float) -> None:
    """However few images a class has, what differs between its images is not taken for a property of the class."""
    generator = np.random.default_rng(0)
    labels = np.arange(256) % classes
    values = generator.normal(size=(256, 500)) + deviation * generator.normal(size=(classes, 500))[labels]
    figures = SiteDistribution("a", "gate", "gate", "gate", values.astype(np.float32), labels).to_json_dict()
    assert figures["between_images"] == pytest.approx((1 + deviation**2) ** 0.5, rel=0.05)
    assert figures["between_classes"] == pytest.approx(deviation, abs=0.12)


def test_single_images_of_classes_do_not_tell_classes_apart() -> None:
    """With one image of each class, and with one class, it is not known what a class does."""
    values = np.array([[0.1], [0.9]], np.float32)
    for labels in ([3, 5], [3, 3]):
        distribution = SiteDistribution("a", "gate", "gate", "gate", values, np.array(labels))
        assert distribution.to_json_dict()["between_classes"] is None


@pytest.mark.parametrize("attn", ["se", "fca", "srm", "ge"])
def test_the_gate_told_from_outside_is_the_one_inside(attn: str, cache: Path) -> None:
    """y / x finds what the mechanism's own sigmoid made, to rounding."""
    network = trained(attn, cache)
    inside: list[torch.Tensor] = []

    class Listen(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            out = func(*args, **(kwargs or {}))
            if func is torch.ops.aten.sigmoid.default:
                inside.append(out)
            return out

    x = network.dataset.test.images[:3].float() / 255
    with torch.no_grad(), recorded_observations(network.net) as found, Listen():
        network.net(x)
    seen = [s.values.mean((2, 3)) for views in found.values() for s in views]
    assert len(seen) == len(inside) == 9
    for told, made in zip(seen, inside, strict=True):
        torch.testing.assert_close(told, made.flatten(1), atol=1e-4, rtol=1e-3)


def test_dcn_starts_without_offsets_and_with_its_regular_taps(cache: Path) -> None:
    """Offsets are 0 at the start, and the nine taps are those of a 3x3 convolution."""
    (image,) = analyze_attention(trained("dcn", cache, random=False), images=1, sample=2).images
    for view in image.views:
        assert not view.values.any()
        assert view.taps is not None
        assert sorted(map(tuple, view.taps.tolist())) == [(y, x) for y in (-1, 0, 1) for x in (-1, 0, 1)]


def test_stn_starts_with_the_whole_image(cache: Path) -> None:
    """At the start the warp is the identity: what the network gets is the image, and its side is 1."""
    found = analyze_attention(trained("stn", cache, random=False), images=1, sample=2)
    (view,) = found.images[0].views
    assert view.output is not None
    np.testing.assert_allclose(view.output, found.images[0].pixels, atol=1e-4)
    np.testing.assert_allclose(found.distributions[0].values, 1.0, atol=1e-4)


def test_ram_shows_the_glimpses_that_were_taken(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The path is that of the forward pass itself, though places are drawn at random."""
    network = trained("ram", cache)
    assert isinstance(network.net, ram.Attention)
    taken: list[torch.Tensor] = []
    look = network.net.glimpse.encode_glimpse

    def listen(padded: torch.Tensor, at: torch.Tensor) -> torch.Tensor:
        taken.append(at)
        return look(padded, at)

    monkeypatch.setattr(network.net.glimpse, "encode_glimpse", listen)
    with torch.no_grad(), recorded_observations(network.net) as found:
        network.net(torch.rand(3, 3, 8, 8))
    (seen,) = found["input"]
    steps = len(taken) // 2  # the looking draws them once more
    torch.testing.assert_close(seen.values, torch.stack(taken[:steps], 1))


def test_a_mechanism_of_the_users_own_is_seen_without_doing_anything(cache: Path, tmp_path: Path) -> None:
    """One that multiplies by its weight shows that weight; one that is no gate shows sizes."""
    text = """import torch
from torch import nn
from attncli.attention.card import Card
card = Card(title="t", venue="-", year=2026, arxiv=None, site="gate", code="-")
class Attention(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.ones(1))
    def forward(self, x):
        return {}
"""
    scaled, added = tmp_path / "scaled.py", tmp_path / "added.py"
    scaled.write_text(text.format("x * 0.25 * self.w"))
    added.write_text(text.format("x + 5 * torch.flip(x, (3,)) * self.w"))
    for file, what in ((scaled, "gate"), (added, "size of what comes out over what went in")):
        (image,) = analyze_attention(trained(str(file), cache, random=False), images=1, sample=2).images
        assert {v.what for v in image.views} == {what}
        if file is scaled:
            np.testing.assert_allclose(image.views[0].values, 0.25, atol=1e-6)


@pytest.mark.parametrize(
    ("imported", "method"),
    [("observation import Observation", "observe"), ("seen import Seen as Observation", "seen")],
    ids=["observe", "seen"],
)
def test_a_plugin_shows_what_it_says_of_itself(imported: str, method: str, cache: Path, tmp_path: Path) -> None:
    """`observe` of a user's file is asked for what to show, and so is `seen`, its name in version 0.1."""
    path = tmp_path / "mine.py"
    path.write_text(f"""import torch
from torch import nn
from attncli.attention.card import Card
from attncli.attention.{imported}
card = Card(title="t", venue="-", year=2026, arxiv=None, site="gate", code="-")
class Attention(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.ones(1))
    def forward(self, x):
        return x * self.w
    def {method}(self, inputs, output):
        return [Observation("gate", "constant factor", torch.full((len(output), 1, 1, 1), 0.125))]
""")
    (image,) = analyze_attention(trained(str(path), cache, random=False), images=1, sample=2).images
    assert {view.what for view in image.views} == {"constant factor"}
    np.testing.assert_allclose(image.views[0].values, 0.125)


def _multiply(*gates: torch.Tensor) -> torch.Tensor:
    return torch.stack(torch.broadcast_tensors(*gates)).prod(0)


def _average(*gates: torch.Tensor) -> torch.Tensor:
    return torch.stack(torch.broadcast_tensors(*gates)).mean(0)


APART: list[tuple[str, dict[str, Any], int, Callable[..., torch.Tensor]]] = [
    ("cbam", {}, 2, _multiply),
    ("ca", {}, 2, _multiply),
    ("ela", {}, 2, _multiply),
    ("scsa", {}, 3, _multiply),
    ("polarized", {"form": "s"}, 2, _multiply),
    ("triplet", {}, 3, _average),
    ("mca", {}, 3, _average),
    ("scse", {"combine": "add"}, 2, torch.add),
    ("bam", {}, 3, lambda factor, channel, spatial: 1 + torch.sigmoid(channel + spatial)),
    ("bam", {"combine": "product"}, 3, lambda factor, channel, spatial: factor),
    ("sa", {"groups": 1, "shuffle": False}, 2, lambda *halves: torch.cat(torch.broadcast_tensors(*halves), 1)),
]


@pytest.mark.parametrize(("attn", "options", "count", "join"), APART)
def test_gates_are_shown_apart(
    attn: str, options: dict[str, Any], count: int, join: Callable[..., torch.Tensor]
) -> None:
    """A mechanism of several gates shows each by its own name, and together they are what it does to its input."""
    place = {} if attn == "triplet" else {"channels": 16}
    module = randomise(attention.load(attn).Attention(**place, **options)).eval()
    x = torch.randn(2, 16, 6, 5, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        y = module(x)
        observations = module.observe((x,), y)
        assert len({o.what for o in observations}) == count
        torch.testing.assert_close(x * join(*(o.values for o in observations)), y, atol=1e-5, rtol=1e-4)


def test_a_gate_that_is_even_in_one_batch_keeps_its_units() -> None:
    """A map of positions has as many units in a batch in which they are alike as in any other."""
    for values in (torch.rand(2, 1, 4, 3), torch.full((2, 1, 4, 3), 0.5)):
        assert compute_unit_values(Observation("gate", "g", values), 2).shape == (2, 12)
    assert compute_unit_values(Observation("gate", "g", torch.rand(2, 5, 1, 1)), 2).shape == (2, 5)


@pytest.mark.parametrize(
    ("attribute", "method"),
    [
        ("self.register_buffer('seen', torch.tensor(1))", ""),
        ("self.observe = nn.Identity()", ""),
        ("self.observe = lambda inputs, output: 3", ""),
        ("pass", "    def observe(self, x):\n        return x.no_such_method()\n"),
        ("pass", "    def seen(self):\n        raise ValueError('not called')\n"),
        ("pass", "    def observe(self, x, y):\n        return y\n"),
    ],
    ids=["buffer", "module", "function", "one argument", "no argument", "no observations"],
)
def test_an_attribute_that_is_no_report_is_passed_over(
    cache: Path, tmp_path: Path, attribute: str, method: str
) -> None:
    """A counter `seen`, or a part or method `observe`, of a user's mechanism: it is looked at as any other gate."""
    path = tmp_path / "mine.py"
    path.write_text(
        "import torch\nfrom torch import nn\n\nclass Gate(nn.Module):\n    def __init__(self, channels):\n"
        f"        super().__init__()\n        {attribute}\n    def forward(self, x):\n        return 0.5 * x\n{method}"
    )
    views = [
        v for image in analyze_attention(trained(f"{path}:Gate", cache), images=1, sample=2).images for v in image.views
    ]
    assert len(views) == 9
    for view in views:
        np.testing.assert_allclose(view.values[np.isfinite(view.values)], 0.5, atol=1e-5)


def test_a_module_at_the_border_of_a_gate_is_one_thing_in_all_batches() -> None:
    """Batches of which one alone is a gate by its factors: the first decides, and all have the same units."""
    x = torch.rand(2, 3, 4, 4, generator=torch.Generator().manual_seed(0)) + 0.5
    gate, no_gate = x * 0.5, x * 0.5
    no_gate[0, 0, 0, 0] = 20 * x[0, 0, 0, 0]  # one of 96 factors is large
    for first, second, what, shape in (
        (gate, no_gate, "gate", (2, 3, 4, 4)),
        (no_gate, gate, "size of what comes out over what went in", (2, 1, 4, 4)),
    ):
        module = nn.Sequential()
        kinds: GateKinds = {}
        seen = []
        for output in (first, second):
            observations: dict[str, list[Observation]] = {}
            hook = _ObservationHook("site", observations, kinds, torch.device("cpu"))
            hook.save_random_state(module, (x,))
            hook.record_output(module, (x,), output)
            seen.append(observations["site"][0])
        assert [observation.what for observation in seen] == [what, what]
        assert [tuple(observation.values.shape) for observation in seen] == [shape, shape]
    assert seen[1].values.mean().item() == pytest.approx(0.5)  # as all factors are
