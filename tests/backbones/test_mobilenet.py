"""The sites of MobileNetV2, and that its family changes nothing else of torchvision's network."""

from typing import Any

import pytest
import torch
import torchvision.models
from torchvision.models.mobilenetv2 import InvertedResidual

from attncli import attention, backbones, model
from attncli.backbones import mobilenet
from attncli.errors import UserError
from attncli.recipe import read

BLOCKS = [f"features.{i}" for i in range(1, 18)]
WIDENING = BLOCKS[1:]  # the first block keeps its 32 channels
SUMMING = [f"features.{i}" for i in (3, 5, 6, 8, 9, 10, 12, 13, 15, 16)]
STILL = [
    n
    for n in attention.mechanism_names()
    if attention.describe_mechanism(n).card.site not in ("model", "frames", "frames-head")
]
CARDS = {n: attention.describe_mechanism(n).card for n in reversed(STILL)}
ONE_PER_SITE = {card.mobile_site or card.site: n for n, card in CARDS.items()}


def build(attn: str, size: int = 32, **keys: Any) -> torch.nn.Module:
    """mobilenet_v2 with a mechanism."""
    values = {f"model.{k}": v for k, v in keys.items()}
    recipe = read(values={"model.backbone": "mobilenet_v2", "model.attn": attn, **values})
    return model.build(recipe, model.InputSpec(10, (size, size)))


def paths(attn: str, **keys: Any) -> list[str]:
    """Where the mechanism sits."""
    with torch.device("meta"):
        return [path.removesuffix(".attn") for path in model.find_mechanisms(build(attn, **keys))]


def test_equals_torchvision() -> None:
    """The same tensors under the same names, and with torchvision's weights the same logits."""
    theirs = torchvision.models.mobilenet_v2(num_classes=10).eval()
    ours = mobilenet.build("mobilenet_v2", 10, cifar_stem=False).eval()
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(ours(x), theirs(x))


@pytest.mark.parametrize(("cifar", "size", "maps"), [(True, 32, [32, 16, 8, 4]), (False, 224, [56, 28, 14, 7])])
def test_stages_are_sizes_of_maps(cifar: bool, size: int, maps: list[int]) -> None:
    """The last block of a stage ends at a ResNet's size: 56, 28, 14, 7 of 224 px, 32, 16, 8, 4 of 32 px."""
    from attncli.backbones.surgery import trace_shapes

    with torch.device("meta"):
        net = mobilenet.build("mobilenet_v2", 10, cifar_stem=cifar)
    blocks = mobilenet.find_structure(net).blocks
    found = trace_shapes(net, (size, size))
    last = {b.stage: found[b.path][1][-1] for b in blocks}
    assert [b.path for b in blocks] == BLOCKS
    assert [last[stage] for stage in (1, 2, 3, 4)] == maps


@pytest.mark.parametrize(
    ("site", "expected"),
    [
        ("gate", ["features.1.conv.2", *(f"{b}.conv.3" for b in WIDENING)]),
        ("mid", [f"{b}.conv.2" for b in WIDENING]),
        ("pre-norm", ["features.1.conv.0.0", *(f"{b}.conv.1.0" for b in WIDENING)]),
        ("block-input", BLOCKS),
        ("stage", BLOCKS),
        ("head", ["features.19"]),
        ("input", ["features.0"]),
    ],
)
def test_sites(site: str, expected: list[str]) -> None:
    """Every block has a gate, a depthwise convolution and its norm; only blocks that widen have an inside."""
    assert paths("eca", site=site) == expected


def test_before_and_after() -> None:
    """`mid` precedes the projection, `gate` follows its norm, `pre-norm` the depthwise convolution."""
    for site, path, order in (
        ("mid", "features.2.conv.2", ["attn", "host"]),
        ("gate", "features.2.conv.3", ["host", "attn"]),
        ("pre-norm", "features.2.conv.1.0", ["host", "attn"]),
    ):
        assert [n for n, _ in build("eca", site=site).get_submodule(path).named_children()] == order


def test_conv_replaces_the_depthwise_convolution() -> None:
    """The mechanism gets its groups and stride: 4 kernels of 9 numbers per channel, half the map."""
    net = build("dyconv", size=64)
    assert [p.removesuffix(".attn") for p in model.find_mechanisms(net)][:2] == [
        "features.1.conv.0.0",
        "features.2.conv.1.0",
    ]
    dynamic = net.get_submodule("features.2.conv.1.0").eval()
    assert dynamic.attn.experts.weight.shape == (4, 96, 9)
    assert dynamic(torch.zeros(1, 96, 32, 32)).shape == (1, 96, 16, 16)


def test_join_where_there_is_a_sum() -> None:
    """Ten blocks have a shortcut, and a gate that lets the branch through whole adds nothing else."""
    net = build("highway").eval()
    assert [p.removesuffix(".attn") for p in model.find_mechanisms(net)] == SUMMING
    block = net.get_submodule("features.3")

    class Sum(torch.nn.Module):
        def forward(self, x: torch.Tensor, branch: torch.Tensor, shortcut: torch.Tensor) -> torch.Tensor:
            return branch + shortcut

    block.attn = Sum()
    x = torch.randn(1, 24, 8, 8)
    with torch.no_grad():
        assert torch.equal(block(x), InvertedResidual.forward(block, x))


def test_a_site_that_no_chosen_block_has_is_refused() -> None:
    """Asked for the inside of the one block that has none, it says so instead of building the plain network."""
    with pytest.raises(UserError, match="none of the chosen blocks has it"):
        build("eca", site="mid", stages=[1], blocks=[1])


def test_mobile_site() -> None:
    """A card's mobile_site is its site on MobileNetV2 and nowhere else, and a recipe's site goes before it."""
    card = attention.describe_mechanism("ca").card
    assert (card.site, card.mobile_site) == ("gate", "mid")
    assert backbones.get_paper_site("mobilenet_v2", card) == "mid"
    assert backbones.get_paper_site("resnet50", card) == "gate"
    assert paths("ca") == [f"{b}.conv.2" for b in WIDENING]
    assert paths("ca", site="gate") == paths("eca")
    assert paths("eca")[0] == "features.1.conv.2"


@pytest.mark.parametrize("attn", ONE_PER_SITE.values(), ids=ONE_PER_SITE.keys())
def test_every_site_keeps_the_weights(attn: str) -> None:
    """Whatever a mechanism is put before, after or in place of, the other tensors are the plain network's."""
    net, plain = build(attn), build("none").state_dict()
    kept = {k.replace(".host.", "."): v for k, v in net.state_dict().items() if ".attn." not in k}
    assert len(kept) > len(plain) / 2
    assert all(torch.equal(plain[k], v) for k, v in kept.items())
