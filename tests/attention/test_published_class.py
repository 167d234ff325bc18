"""Any module of a user's file, as papers publish them: `--attn FILE.py:CLASS`, without a card."""

from pathlib import Path

import pytest
import torch

from attncli import attention, model, validation
from attncli.errors import UserError
from attncli.recipe import Recipe
from attncli.track.provenance import label_mechanism

SHAPE = model.InputSpec(10, (16, 16))
FILE = '''
import torch
from torch import nn

from helper_of_blocks import squeeze


class Excite(nn.Module):
    """Squeeze and excite."""
    def __init__(self, channel, reduction=1. / 16, act_layer=nn.ReLU):
        super().__init__()
        hidden = max(1, int(channel * reduction))
        self.body = nn.Sequential(nn.Linear(channel, hidden), act_layer(), nn.Linear(hidden, channel))

    def forward(self, x):
        return x * self.body(squeeze(x)).sigmoid()[:, :, None, None]


class Coordinate(nn.Module):
    def __init__(self, inp: int, oup: int, groups=4):
        super().__init__()
        self.conv = nn.Conv2d(inp, oup, 1, groups=groups)

    def forward(self, x):
        return self.conv(x)


class Base(nn.Module):
    def __init__(self, *, dim=512, kernels=[1, 3]):
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv2d(dim, dim, k, padding=k // 2, groups=dim) for k in kernels)

    def forward(self, x):
        return sum(conv(x) for conv in self.convs)


class Kernels(Base):
    """The constructor is that of its base."""


class Spatial(nn.Module):
    def __init__(self, kernel_size=7):
        super().__init__()
        self.conv = nn.Conv2d(2, 1, kernel_size, padding=kernel_size // 2, bias=False)

    def forward(self, x):
        return x * self.conv(torch.cat([x.mean(1, True), x.amax(1, True)], 1)).sigmoid()


class Energy(nn.Module):
    def forward(self, x):
        return x * x.sigmoid()


class Sized(nn.Module):
    def __init__(self, channel, h, w):
        super().__init__()
        self.position = nn.Parameter(torch.zeros(channel, h, w))

    def forward(self, x):
        return x + self.position


class Resolved(nn.Module):
    def __init__(self, dim, input_resolution):
        super().__init__()
        self.position = nn.Parameter(torch.zeros(dim, *input_resolution))

    def forward(self, x):
        return x + self.position


class Tall(nn.Module):
    def __init__(self, channel, height, depth):
        super().__init__()


class Crossed(nn.Module):
    def __init__(self, dim):
        super().__init__()

    def forward(self, x, context, scale=1.0):
        return x * context


class NoMap(nn.Module):
    def __init__(self, dim):
        super().__init__()

    def forward(self):
        return self.dim


class Pair(nn.Module):
    def __init__(self, c1):
        super().__init__()

    def forward(self, x):
        return x, x.mean(1)


class Halving(nn.Module):
    def __init__(self, whatever_it_is_called):
        super().__init__()
        self.conv = nn.Conv2d(whatever_it_is_called, whatever_it_is_called, 3, stride=2, padding=1)

    def forward(self, x):
        return self.conv(x)


class Again(nn.Module):
    def __init__(self, dim, first_definition):
        super().__init__()


class Again(nn.Module):
    def __init__(self, first_definition):
        super().__init__()

    def __init__(self, dim, kernel_size=3):
        super().__init__()
        self.conv = nn.Conv2d(dim, dim, kernel_size, padding=kernel_size // 2, groups=dim, bias=False)

    def forward(self, x, context):
        return self.conv(x)

    def forward(self, x):
        return self.conv(x)


class Broken(nn.Module):
    def __init__(self, dim):
        super().__init__()

    def forward(self, x):
        return x.no_such_method()
'''


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file of several modules that imports another one beside it."""
    (tmp_path / "helper_of_blocks.py").write_text("def squeeze(x):\n    return x.mean((2, 3))\n")
    path = tmp_path / "blocks.py"
    path.write_text(FILE)
    return path


def read(name: str, *overrides: str) -> Recipe:
    """The recipe of resnet20 with the mechanism."""
    return validation.read(None, overrides, {"model.backbone": "resnet20", "model.attn": name})


WIDTHS = (16, 32, 64)  # of resnet20's three stages of three blocks
PARAMETERS = {
    "Excite": ([], [2 * c * (c // 16) + c // 16 + c for c in WIDTHS]),
    "Excite ": (["model.options.reduction=0.5"], [c * c + c // 2 + c for c in WIDTHS]),
    "Coordinate": ([], [c * c // 4 + c for c in WIDTHS]),
    "Kernels": (["model.options.kernels=[3]"], [c * 9 + c for c in WIDTHS]),
    "Spatial": (["model.options.kernel_size=5"], [50] * 3),
    "Energy": ([], [0] * 3),
    "Again": (["model.options.kernel_size=5"], [25 * c for c in WIDTHS]),  # of two definitions Python takes the last
    "Sized": ([], [c * side**2 for c, side in zip(WIDTHS, (16, 8, 4), strict=True)]),
    "Resolved": ([], [c * side**2 for c, side in zip(WIDTHS, (16, 8, 4), strict=True)]),
}


@pytest.mark.parametrize("name", PARAMETERS)
def test_a_class_is_put_into_every_block(file: Path, name: str) -> None:
    """The width goes to its first parameter, defaults are options, and its parameters are those of the formula."""
    overrides, per_block = PARAMETERS[name]
    recipe = read(f"{file}:{name.strip()}", *overrides)
    with torch.device("meta"):
        modules = model.find_mechanisms(model.build(recipe, SHAPE))
    counts = [sum(p.numel() for p in module.parameters()) for module in modules.values()]
    assert counts == [count for count in per_block for _ in range(3)]
    assert label_mechanism(recipe) == f"blocks.{name.strip()}"


def test_it_is_built_without_gradients_too(file: Path) -> None:
    """As for a trained network that is loaded to be exported."""
    with torch.no_grad():
        net = model.build(read(f"{file}:Energy"), SHAPE)
        assert net.eval()(torch.zeros(1, 3, 16, 16)).shape == (1, 10)


REFUSED = {
    "Tall": ("height, depth", "no place in a network has a value for that"),
    "Crossed": ("Crossed.forward needs context beside the map",),
    "NoMap": ("blocks.py", "forward() takes 1 positional argument"),
    "Pair": ("returns tuple for (2, 16, 16, 16)", "layer1.0.bn2"),
    "Halving": ("returns (2, 16, 8, 8) for (2, 16, 16, 16)", "layer1.0.bn2"),
    "Broken": ("line ", "no_such_method"),
    "Energie": ("unknown class", "Energie"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_work_is_refused_in_one_line(file: Path, name: str) -> None:
    """More than a width needed, another shape or type returned, a failure inside: a UserError says what and where."""
    with pytest.raises(UserError) as raised:
        model.build(read(f"{file}:{name}"), SHAPE)
    for text in REFUSED[name]:
        assert text in raised.value.problem
    assert "\n" not in raised.value.problem


def test_identity_is_the_content_of_the_file_and_of_what_it_imports(file: Path, tmp_path: Path) -> None:
    """Another class, or another content of a module that the file imports, is another run; another folder is not."""
    digest = read(f"{file}:Excite").compute_digest()
    assert read(f"{file}:Energy").compute_digest() != digest
    copies = tmp_path / "copy"
    copies.mkdir()
    for source in (file, tmp_path / "helper_of_blocks.py"):
        (copies / source.name).write_text(source.read_text())
    assert read(f"{copies / file.name}:Excite").compute_digest() == digest
    (copies / "helper_of_blocks.py").write_text("def squeeze(x):\n    return x.amax((2, 3))\n")
    assert read(f"{copies / file.name}:Excite").compute_digest() != digest


def test_a_file_without_a_card_needs_a_name_or_the_class_attention(file: Path, tmp_path: Path) -> None:
    """`FILE.py` alone takes the class `Attention` as published; without it the classes are listed."""
    with pytest.raises(UserError) as raised:
        attention.describe_mechanism(str(file))
    assert raised.value.hint is not None
    assert f"{file}:Coordinate" in raised.value.hint
    alone = tmp_path / "alone.py"
    alone.write_text("from torch import nn\nclass Attention(nn.Module):\n    def __init__(self, dim, r=4): ...\n")
    mechanism = attention.describe_mechanism(str(alone))
    assert (mechanism.arguments, list(mechanism.options)) == ({"dim": "channels"}, ["r"])


def test_beside_a_card_a_parameter_with_a_default_is_an_option(tmp_path: Path) -> None:
    """`reduction=16` after the site arguments needs no star before it."""
    path = tmp_path / "mine.py"
    path.write_text(
        'from torch import nn\ncard = Card(title="Mine", site="mid")\n'
        "class Attention(nn.Module):\n    def __init__(self, channels, size, reduction=16): ...\n"
    )
    mechanism = attention.describe_mechanism(str(path))
    assert (mechanism.site_arguments, list(mechanism.options)) == (("channels", "size"), ["reduction"])
    assert mechanism.card.site == "mid"
