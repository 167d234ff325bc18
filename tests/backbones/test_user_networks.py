"""A user's own network, `--backbone FILE.py:NAME`: its sites are found by structure, or it is refused with a reason."""

import random
from pathlib import Path

import pytest
import torch

from attncli import model, validation
from attncli.errors import UserError
from attncli.interpret.hooks import list_observed_modules
from attncli.measure.cost import count_recipe
from attncli.measure.site_costs import list_site_costs
from attncli.recipe import Recipe
from attncli.track.tags import format_run_name
from attncli.train.distributed import seed_everything
from attncli.train.fine_tuning import find_parts

SHAPE = model.InputSpec(5, (16, 16))
FILE = '''
import torch
from torch import nn


class Gate(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.excite = nn.Sequential(nn.Linear(dim, 2), nn.ReLU(), nn.Linear(2, dim), nn.Sigmoid())

    def forward(self, x):
        return x * self.excite(x.mean((2, 3)))[:, :, None, None]


class Residual(nn.Module):
    def __init__(self, inp, oup, stride):
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(inp, oup, 3, stride, 1, bias=False), nn.BatchNorm2d(oup), nn.ReLU())
        self.second = nn.Conv2d(oup, oup, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(oup)
        self.gate = Gate(oup)
        self.match = nn.Sequential(nn.Conv2d(inp, oup, 1, stride), nn.BatchNorm2d(oup)) if stride > 1 else nn.Identity()

    def forward(self, x):
        return torch.relu(self.gate(self.norm(self.second(self.first(x)))) + self.match(x))


class Net(nn.Module):
    def __init__(self, n_classes=10, width=4):
        super().__init__()
        self.stem = nn.Conv2d(3, width, 3, padding=1)
        self.body = nn.Sequential(
            Residual(width, width, 1), Residual(width, 2 * width, 2), Residual(2 * width, 2 * width, 1)
        )
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Linear(2 * width * 1, n_classes)

    def forward(self, x):
        return self.head(self.pool(self.body(self.stem(x))).flatten(1))


def wide(num_labels):
    return Net(num_labels, width=8)




class Fixed(nn.Module):
    """Made for images of 16 px, which it cuts into patches that do not overlap."""
    def __init__(self, num_classes):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 4, 4)
        self.fc = nn.Linear(4 * 4 * 4, num_classes)

    def forward(self, x):
        return self.fc(self.conv(x).flatten(1))


class Features(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, x):
        return self.conv(x)


class Attending(Residual):
    """A module called attn."""
    def __init__(self, width):
        super().__init__(width, width, 1)
        self.attn = nn.Sequential(nn.Linear(width, width), nn.Dropout(0.1))

    def forward(self, x):
        return super().forward(self.attn(x.movedim(1, -1)).movedim(-1, 1))


class Transformer(nn.Module):
    """Its constructor reads values."""
    def __init__(self, num_classes):
        super().__init__()
        self.scales = [x.item() for x in torch.linspace(0.5, 1, 2)]
        self.stem = nn.Conv2d(3, 4, 3, 2, 1)
        self.body = nn.Sequential(Attending(4), Attending(4))
        self.head = nn.Linear(4, num_classes)

    def forward(self, x):
        return self.head(self.body(self.stem(x)).mean((2, 3)) * self.scales[0])


def depth_needed(depth, num_classes):
    return Net(num_classes)


def no_classes(depth=3):
    return Net(depth)
'''


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file of several networks."""
    path = tmp_path / "own.py"
    path.write_text(FILE)
    return path


def read(backbone: object, attn: str = "none", *overrides: str) -> Recipe:
    """The recipe of a network with a mechanism."""
    return validation.read(None, overrides, {"model.backbone": str(backbone), "model.attn": attn})


SITES = {  # the norm that ends the branch, whatever the gate and the shortcut behind it
    "gate": ["body.0.norm", "body.1.norm", "body.2.norm"],
    "mid": ["body.0.second", "body.1.second", "body.2.second"],
    "conv": ["body.0.first.0", "body.0.second", "body.1.first.0", "body.1.second", "body.2.first.0", "body.2.second"],
    "stage": ["body.0", "body.1", "body.2"],
    "head": ["pool"],
    "input": ["stem"],
}


def test_sites_are_found_by_structure(file: Path) -> None:
    """Every site of the network's three blocks, in two stages, and the widths there."""
    for site, paths in SITES.items():
        attn = "dyconv" if site == "conv" else "se"
        override = [] if site == "conv" else [f"model.site={site}"]
        costs = list_site_costs(read(f"{file}:Net", attn, *override), SHAPE)
        assert [cost.path for cost in costs] == paths, site
    costs = list_site_costs(read(f"{file}:Net", "se"), SHAPE)
    assert [(cost.stage, cost.channels, cost.size) for cost in costs] == [
        (1, 4, (16, 16)),
        (2, 8, (8, 8)),
        (2, 8, (8, 8)),
    ]


def test_a_network_with_a_mechanism_shares_the_weights_of_the_plain_one(file: Path) -> None:
    """A function serves as well as a class, whatever the number of classes is called; names and digests are its own."""
    recipe = read(f"{file}:wide", "eca")
    net, bare = model.build(recipe, SHAPE), model.build(recipe.make_baseline(), SHAPE)
    own = {name.replace(".host", ""): value for name, value in net.state_dict().items() if ".attn." not in name}
    assert own.keys() == bare.state_dict().keys()
    assert all(torch.equal(value, own[name]) for name, value in bare.state_dict().items())
    assert net(torch.zeros(2, 3, 16, 16)).shape == (2, 5)
    assert format_run_name(recipe) == "eca-own.wide-s0"
    before = recipe.compute_digest()
    file.write_text(FILE.replace("width=8", "width=6"))
    assert read(f"{file}:wide", "eca").compute_digest() != before


def test_modules_called_attn_are_the_networks_own(file: Path, tmp_path: Path) -> None:
    """Only what attncli put in is a mechanism: to look at, to fine-tune, and to load."""
    recipe = read(f"{file}:Transformer", "se", "train.lr_factors={attention: 0.5}")
    net, bare = model.build(recipe, SHAPE), model.build(recipe.make_baseline(), SHAPE)
    assert model.find_mechanisms(bare) == {}
    assert list(model.find_mechanisms(net)) == ["body.0.norm.attn", "body.1.norm.attn"]
    assert [site for site, _ in list_observed_modules(net)] == ["body.0.norm", "body.1.norm"]
    parts = find_parts(net, recipe, (16, 16))
    assert parts["body.0.attn.0.weight"] == "stage1"
    assert {name for name, part in parts.items() if part == "attention"} == {
        name for name in parts if ".norm.attn." in name
    }
    for trained, lines in ((bare, 1), (net, 2)):
        torch.save(trained.state_dict(), tmp_path / "weights.pth")
        notes: list[str] = []
        loaded = model.build(
            read(f"{file}:Transformer", "se", f"model.pretrained={tmp_path}/weights.pth"), SHAPE, notes.append
        )
        assert torch.equal(loaded.body[0].attn[0].weight, trained.body[0].attn[0].weight)
        assert sum("of the mechanism" in note for note in notes) == lines - 1
        assert "not used" not in "".join(notes)


def test_its_constructor_may_read_values(file: Path) -> None:
    """Counting builds networks without weights; this one cannot be made so, and is counted all the same."""
    counts = count_recipe(read(f"{file}:Transformer", "se"), SHAPE)
    net = model.build(read(f"{file}:Transformer", "se"), SHAPE)
    assert counts.params == sum(parameter.numel() for parameter in net.parameters())


@pytest.mark.parametrize("attn", ["none", "se", "tam"])
def test_it_takes_clips(file: Path, attn: str) -> None:
    """The structure is that of the network for images: its head averages the frames of a clip."""
    net = model.build(read(f"{file}:Net", attn), model.InputSpec(5, (16, 16), frames=2))
    assert net(torch.zeros(3, 2, 3, 16, 16)).shape == (3, 5)


REFUSED = {
    "no_classes": ("no number of classes", "depth"),
    "depth_needed": ("needs depth beside num_classes",),
    "Nett": ("unknown network", "Nett"),
    "Features": ("returns (2, 4, 14, 14) for 2 images, not (2, 5)",),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_network_is_refused_in_one_line(file: Path, name: str) -> None:
    """No number of classes, more than that, no such name, no logits: one line says so."""
    with pytest.raises(UserError) as raised:
        model.build(read(f"{file}:{name}"), SHAPE)
    assert "\n" not in raised.value.problem
    for text in REFUSED[name]:
        assert text in raised.value.problem


def test_a_network_without_blocks_is_refused_with_what_it_has(file: Path) -> None:
    """It trains as it is; a mechanism has no place in it, and the layers that it has are listed."""
    assert model.build(read(f"{file}:Fixed"), SHAPE)(torch.zeros(1, 3, 16, 16)).shape == (1, 5)
    with pytest.raises(UserError, match=r"it has 1 convolution \(conv\), 1 linear layer \(fc\)"):
        model.build(read(f"{file}:Fixed", "se"), SHAPE)
    with pytest.raises(UserError, match=r"own.py, line \d+: does not take images of 20x20 px"):
        model.build(read(f"{file}:Fixed"), model.InputSpec(5, (20, 20)))
    with pytest.raises(UserError, match="which class or function is the network") as raised:
        read(file)
    assert f"{file}:wide" in (raised.value.hint or "")


LAZY = """
from torch import nn


class Net(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.features = nn.Sequential(
            nn.LazyConv2d(8, 3, padding=1), nn.LazyBatchNorm2d(), nn.ReLU(), nn.MaxPool2d(2),
            nn.LazyConv2d(16, 3, padding=1), nn.LazyBatchNorm2d(), nn.ReLU(), nn.MaxPool2d(2),
        )
        self.head = nn.LazyLinear(num_classes)

    def forward(self, x):
        return self.head(self.features(x).flatten(1))


class Later(Net):
    def __init__(self, num_classes):
        super().__init__(num_classes)
        self.classes, self.head = num_classes, None

    def forward(self, x):
        x = self.features(x).flatten(1)
        if self.head is None:
            self.head = nn.Linear(x.shape[1], self.classes).to(x.device)
        return self.head(x)


class Forgotten(Net):
    def __init__(self, num_classes):
        super().__init__(num_classes)
        self.other = nn.LazyLinear(3)
"""


def build_lazy(tmp_path: Path, name: str, attn: str = "none") -> torch.nn.Module:
    """A network whose layers are made in their first pass, for images of 16 px."""
    path = tmp_path / "lazy.py"
    path.write_text(LAZY)
    recipe = validation.read(None, [], {"model.backbone": f"{path}:{name}", "model.attn": attn})
    return model.build(recipe, SHAPE)


@pytest.mark.parametrize("device", ["cpu", "meta"])
@pytest.mark.parametrize("name", ["Net", "Later"])
def test_layers_of_the_first_pass_belong_to_the_network(tmp_path: Path, name: str, device: str) -> None:
    """They are counted and trained, and mechanisms find their places; 16 x 4 x 4 numbers reach the head."""
    convs = [3 * 8 * 9 + 8 + 2 * 8, 8 * 16 * 9 + 16 + 2 * 16]
    with torch.device(device):
        plain = build_lazy(tmp_path, name)
        assert sum(p.numel() for p in plain.parameters()) == sum(convs) + 16 * 4 * 4 * 5 + 5
        assert list(model.find_mechanisms(build_lazy(tmp_path, name, "eca")))


def test_weights_of_the_first_pass_are_those_of_the_seed(tmp_path: Path) -> None:
    """Whatever the state of torch's generator is, and whichever mechanism is put in."""
    torch.manual_seed(1)
    first = build_lazy(tmp_path, "Net").state_dict()
    torch.manual_seed(2)
    second = build_lazy(tmp_path, "Net", "eca").state_dict()
    assert torch.equal(first["head.weight"], second["head.weight"])


def test_a_lazy_layer_that_no_pass_uses_is_refused(tmp_path: Path) -> None:
    """It would have no weights: the line names it."""
    with pytest.raises(UserError) as caught:
        build_lazy(tmp_path, "Forgotten")
    assert "other" in caught.value.problem


HOST_DRAWS = """
import random

import numpy as np
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.conv.weight.data = torch.tensor(np.random.standard_normal((4, 3, 3, 3)), dtype=torch.float32)
        self.block = nn.Conv2d(4, 4, 3, padding=1)
        self.fc = nn.Linear(4, num_classes)
        self.skips = []

    def forward(self, x):
        x = self.conv(x)
        if self.training:
            self.skips.append(random.random() < 0.5)
        return self.fc((x if self.training and self.skips[-1] else self.block(x)).mean((2, 3)))
"""


def test_draws_from_python_and_numpy_follow_the_seed(tmp_path: Path) -> None:
    """Weights from numpy.random and blocks skipped by random.random() are the same again, and the plain network's."""
    file = tmp_path / "net.py"
    file.write_text(HOST_DRAWS)
    state = random.getstate()
    plain, again, gated = (model.build(read(f"{file}:Net", attn), SHAPE) for attn in ("none", "none", "se"))
    other = model.build(read(f"{file}:Net", "none", "seed=1"), SHAPE)
    kernels = [
        {name.replace(".host", ""): value for name, value in net.state_dict().items()}["conv.weight"]
        for net in (plain, again, gated, other)
    ]
    assert [torch.equal(kernels[0], kernel) for kernel in kernels] == [True, True, True, False]
    assert random.getstate() == state
    skips = []
    for _ in range(2):
        seed_everything(5, torch.device("cpu"))
        for _ in range(8):
            plain.train()(torch.zeros(2, 3, 16, 16))
        skips.append(plain.skips[-8:])
    assert skips[0] == skips[1]
    assert {*skips[0]} == {True, False}
