"""Where mechanisms go, and that nothing but the mechanism differs from the baseline."""

from collections import OrderedDict
from typing import Any

import pytest
import torch

from attncli import attention, model
from attncli.backbones import surgery
from attncli.errors import UserError
from attncli.recipe import Recipe, read
from attncli.train.parameter_groups import group_parameters

STILL = [n for n in attention.mechanism_names() if attention.describe_mechanism(n).card.site != "model"]


def recipe(attn: str = "none", backbone: str = "resnet20", **keys: Any) -> Recipe:
    """A recipe by dotted keys, `__` for the dots."""
    values = {k.replace("__", "."): v for k, v in keys.items()}
    return read(values={"model.attn": attn, "model.backbone": backbone, **values})


def shape_for(attn: str, size: int = 32) -> model.InputSpec:
    """Clips for mechanisms that work on frames, still images for the others."""
    temporal = attn != "none" and attention.describe_mechanism(attn).card.site.startswith("frames")
    return model.InputSpec(10, (size, size), 4 if temporal else None)


def backbone_tensors(net: torch.nn.Module) -> dict[str, torch.Tensor]:
    """The network's own tensors by the name they have in the plain network."""
    return {
        k.replace(".host.", "."): v
        for k, v in net.state_dict().items()
        if ".attn." not in k and not k.startswith("attn.")
    }


@pytest.mark.parametrize("backbone", ["resnet18", "resnet20"])
@pytest.mark.parametrize("attn", STILL)
def test_common_random_numbers(attn: str, backbone: str) -> None:
    """With one seed every tensor of the backbone is equal to the plain network's to the last bit.

    Tensors may be missing only where the mechanism stands for a submodule (a convolution, its norm, the classifier).
    """
    shape, keys = shape_for(attn), {"seed": 3, "model__zero_init_residual": False}
    plain = backbone_tensors(model.build(recipe("none", backbone, **keys), shape))
    variant = backbone_tensors(model.build(recipe(attn, backbone, **keys), shape))
    assert variant.keys() <= plain.keys()
    assert all(torch.equal(plain[k], v) for k, v in variant.items())
    missing = plain.keys() - variant.keys()
    site = attention.describe_mechanism(attn).card.site
    if site not in ("conv", "frames-head"):
        assert missing == set()


@pytest.mark.parametrize("attn", ["eca", "se"])
def test_seeds_differ(attn: str) -> None:
    """Another seed draws another backbone and another mechanism."""
    a, b = (model.build(recipe(attn, seed=s), model.InputSpec(10, (32, 32))) for s in (0, 1))
    assert not torch.equal(a.conv1.weight, b.conv1.weight)
    path = next(iter(model.find_mechanisms(a)))
    first_a, first_b = (next(m.get_submodule(path).parameters()) for m in (a, b))
    assert not torch.equal(first_a, first_b)


def test_building_leaves_the_global_random_state() -> None:
    """Building draws from its own streams, not from torch's global state."""
    before = torch.get_rng_state()
    model.build(recipe("eca"), model.InputSpec(10, (32, 32)))
    assert torch.equal(before, torch.get_rng_state())


def paths(attn: str, backbone: str = "resnet18", **keys: Any) -> list[str]:
    """Where the mechanism sits."""
    return list(model.find_mechanisms(model.build(recipe(attn, backbone, **keys), model.InputSpec(10, (32, 32)))))


def test_gate_sits_after_the_last_norm_of_every_block() -> None:
    """Basic block: after bn2; bottleneck: after bn3."""
    assert paths("eca")[:2] == ["layer1.0.bn2.attn", "layer1.1.bn2.attn"]
    assert len(paths("eca", "resnet50")) == 16
    assert paths("eca", "resnet50")[0] == "layer1.0.bn3.attn"


def test_stages_and_blocks_move_a_mechanism() -> None:
    """Numbers count from 1, negative ones from the end."""
    assert paths("eca", model__stages=[3, -1], model__blocks=[-1]) == ["layer3.1.bn2.attn", "layer4.1.bn2.attn"]


def test_site_moves_a_mechanism() -> None:
    """A map mechanism goes to any site that passes a map."""
    assert paths("eca", model__site="pre-norm")[0] == "layer1.0.conv2.attn"
    assert paths("eca", model__site="mid")[0] == "layer1.0.conv2.attn"
    assert paths("eca", model__site="block-input")[0] == "layer1.0.attn"
    assert paths("eca", model__site="stage")[0] == "layer1.0.attn"
    assert paths("eca", model__site="head") == ["avgpool.attn"]
    assert paths("eca", model__site="input") == ["conv1.attn"]
    assert len(paths("eca", model__site="conv-input")) == 20  # resnet18's convolutions, shortcuts among them


def kernels(backbone: str, **keys: Any) -> dict[str, int]:
    """Where the kernels of the blocks are, and their sides."""
    with torch.device("meta"):
        net = model.build(recipe("odconv", backbone, model__site="branch-convs", **keys), model.InputSpec(10, (32, 32)))
    return {path: module.kernel for path, module in model.find_mechanisms(net).items()}  # type: ignore[misc]


def test_every_convolution_of_a_branch() -> None:
    """1x1 ones among them, with their own kernels; not those of shortcuts and of a built-in attention, nor the stem."""
    first = {path: side for path, side in kernels("resnet50").items() if path.startswith("layer1.0.")}
    assert first == {"layer1.0.conv1.attn": 1, "layer1.0.conv2.attn": 3, "layer1.0.conv3.attn": 1}
    assert len(kernels("resnet50")) == 3 * 16
    assert len(kernels("resnet20")) == 2 * 9
    assert len(kernels("vgg16_bn")) == 13  # blocks that are convolutions
    assert {p for p in kernels("mobilenet_v3_large") if p.startswith("features.4.")} == {
        "features.4.block.0.0.attn", "features.4.block.1.0.attn", "features.4.block.3.0.attn",
    }  # fmt: skip
    assert set(kernels("resnet20", model__options={"kernel": 5}).values()) == {3}  # the place decides


def test_only_what_can_be_1x1_goes_to_every_convolution() -> None:
    """Others of the site conv are refused, and so are gates."""
    for attn in ("sk", "eca"):
        with pytest.raises(UserError, match=r"model\.site: branch-convs"):
            paths(attn, model__site="branch-convs")


def test_order_at_a_site() -> None:
    """`gate` follows the norm, `mid` and `conv-input` precede the convolution."""
    net = model.build(recipe("eca", model__site="gate"), model.InputSpec(10, (32, 32)))
    assert [n for n, _ in net.layer1[0].bn2.named_children()] == ["host", "attn"]
    net = model.build(recipe("eca", model__site="mid"), model.InputSpec(10, (32, 32)))
    assert [n for n, _ in net.layer1[0].conv2.named_children()] == ["attn", "host"]


def norm_weights(attn: str, backbone: str = "resnet20", **keys: Any) -> dict[str, torch.Tensor]:
    """The weights of the norms of the first stage's blocks."""
    net = model.build(recipe(attn, backbone, **keys), model.InputSpec(10, (16, 16)))
    return {n: p for n, p in net.layer1.named_parameters() if n.endswith("weight") and p.ndim == 1}


@pytest.mark.parametrize("attn", ["lambda", "halo", "involution"])
def test_branches_start_at_zero_where_the_code_followed_does_so(attn: str) -> None:
    """The last norm of each block has weight 0, the first 1; a recipe can switch it off."""
    last, rest = [], []
    for name, weight in norm_weights(attn).items():
        if ".attn." not in name:
            (last if "bn2" in name else rest).append(weight)
    assert len(last) == len(rest) == 3
    assert not torch.cat(last).any()
    assert torch.cat(rest).eq(1).all()
    kept = norm_weights(attn, model__zero_init_residual=False)
    assert all(p.all() for n, p in kept.items() if ".attn." not in n)


def test_the_plain_network_can_start_with_branches_at_zero() -> None:
    """A bottleneck's last norm is its third; a block is then its shortcut."""
    weights = norm_weights("none", "resnet50", model__zero_init_residual=True)
    assert {n.split(".")[1] for n, p in weights.items() if not p.any()} == {"bn3"}
    net = model.build(recipe(model__zero_init_residual=True), model.InputSpec(10, (8, 8)))
    x = torch.rand(2, 16, 8, 8)
    torch.testing.assert_close(net.layer1(x), x)


@pytest.mark.parametrize(("backbone", "is_told"), [("resnet20", False), ("preactresnet20", True)])
def test_a_network_without_norms_at_the_end_of_branches_is_told(backbone: str, is_told: bool) -> None:
    """lambda asks for branches at zero; where nothing can be set to zero the run says so."""
    said: list[str] = []
    model.build(recipe("lambda", backbone), model.InputSpec(10, (32, 32)), said.append)
    assert [("lambda" in text and backbone in text) for text in said] == [True] * is_told


@pytest.mark.parametrize(
    ("backbone", "keys", "told"),
    [
        ("preactresnet20", {}, "no residual branch of preactresnet20 ends with a norm"),
        ("resnet20", {"model__pretrained": True}, "undo pretrained weights"),
    ],
)
def test_zero_branches_need_norms_and_no_pretrained_weights(backbone: str, keys: dict[str, Any], told: str) -> None:
    """The key is refused if it cannot be followed."""
    with pytest.raises(UserError, match=told):
        model.build(recipe("none", backbone, model__zero_init_residual=True, **keys), model.InputSpec(10, (32, 32)))


@pytest.mark.parametrize(
    ("attn", "keys", "told"),
    [
        ("eca", {"model__site": "join"}, "written for the site gate"),
        ("eca", {"model__stages": [9]}, "9: the network has 4 stages"),
        ("eca", {"model__options": {"k": 4}}, "must be odd"),
    ],
)
def test_refusals(attn: str, keys: dict[str, Any], told: str) -> None:
    """What cannot go together is refused before training, with the reason."""
    with pytest.raises(UserError, match=told):
        paths(attn, **keys)


def test_gates_per_channel_get_no_weight_decay() -> None:
    """A gate of shape (C, 1, 1) or (1, C, 1, 1) is spared as a norm's weight is; kernels and matrices are not."""
    net = torch.nn.Module()
    net.add_module("squeeze", torch.nn.Conv2d(8, 1, 1, bias=False))  # its kernel has the shape of a gate
    shapes = {
        "gate": (8, 1, 1),
        "batched": (1, 8, 1, 1),
        "norm": (8,),
        "scale": (),
        "kernel": (8, 1, 3),
        "matrix": (8, 1),
        "conv": (8, 1, 1, 1),
    }
    for name, shape in shapes.items():
        net.register_parameter(name, torch.nn.Parameter(torch.ones(shape)))
    groups = group_parameters(net, recipe("none").train, "none")
    decayed = {id(p) for g in groups if g["weight_decay"] for p in g["params"]}
    assert {name for name, p in net.named_parameters() if id(p) in decayed} == {
        "kernel", "matrix", "conv", "squeeze.weight",
    }  # fmt: skip


def test_weight_decay_groups() -> None:
    """Weight decay spares norms, biases and what a card lists, and every parameter is in exactly one group."""
    net = model.build(recipe("eca"), model.InputSpec(10, (32, 32)))
    groups = group_parameters(net, recipe("eca").train, "eca")
    decayed = {id(p) for g in groups if g["weight_decay"] for p in g["params"]}
    assert sum(len(g["params"]) for g in groups) == len(list(net.parameters()))
    assert all((id(p) in decayed) == (p.ndim > 1) for p in net.parameters())


def test_runs_that_share_a_network_trace_it_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seeds and mechanisms do; another size does not. Users' networks are traced each time."""
    traced = []
    real_trace = surgery.trace_shapes
    monkeypatch.setattr(surgery, "trace_shapes", lambda *given: traced.append(given[1]) or real_trace(*given))
    monkeypatch.setattr("attncli.model.backbone._traced_shapes", OrderedDict())
    for attn, seed, side in (("se", 0, 32), ("se", 1, 32), ("eca", 0, 32), ("se", 0, 16)):
        chosen = read(values={"model.backbone": "resnet20", "model.attn": attn, "seed": seed})
        model.build(chosen, model.InputSpec(10, (side, side)))
    assert traced == [(32, 32), (16, 16)]
