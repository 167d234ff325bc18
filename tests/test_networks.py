"""Every mechanism in every kind of network: it trains and counts as its card says, or is refused with the reason."""

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from fnmatch import fnmatch
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from attncli import attention, model
from attncli.errors import UserError
from attncli.measure.fake_tensors import image_shape, run_on_fake_tensors
from attncli.train import optim, train_model
from attncli.train.loss import TrainingObjective, find_own_loss
from attncli.train.parameter_groups import group_parameters
from tests.attention.case import DEFAULT_FACTS, forward, own, randomise
from tests.test_model import recipe, shape_for
from tests.train.case import dataset

CPU = torch.device("cpu")
ALONE = [n for n in attention.mechanism_names() if attention.describe_mechanism(n).card.site == "model"]
PLACED = [n for n in attention.mechanism_names() if n not in ALONE]

# (backbone, size of the images): basic blocks, bottlenecks, inverted residuals. Of 8 px resnet18 and resnet50 make maps
# of 1x1. Each costs a second and no more: larger images would repeat the same operations.
NETWORKS = [("resnet20", 32), ("resnet50", 8), ("mobilenet_v2", 16), ("resnet18", 8)]
ALL = [(n, *network) for n in PLACED for network in NETWORKS] + [(n, "alone", size) for n in ALONE for size in (32, 8)]

# What cannot fit, and the reason that is given.
REFUSED = {
    ("fca", "mobilenet_v2", 16): "24 channels cannot be split evenly among n=16 frequencies",
    ("scconv", "mobilenet_v2", 16): "32 groups do not divide 16 plain and 16 calibrated channels",
    ("splat", "mobilenet_v2", 16): "32 groups of 2 splits do not divide 32 channels",
    ("gsop", "resnet18", 8): "a 1 x 1 map at reduction_stride 1 is 1 x 1: no covariance",
    ("gsop", "resnet50", 8): "a 1 x 1 map at reduction_stride 1 is 1 x 1: no covariance",
}
FITTING = [case for case in ALL if case not in REFUSED]
# Multiplies three normalised maps: with norms of four values, differences of rounding grow from block to block.
UNBOUNDED = ("lambda", "resnet50", 8)


SMALLER = {  # options of those that take long
    "gam": {"reduction": 16, "groups": 2, "kernel": 3},
    "halo": {"block": 4, "halo": 1},
}


def build(attn: str, backbone: str, size: int, seed: int = 0, smaller: bool = False) -> nn.Module:
    """The network in the memory layout that training uses; if `smaller`, with cheaper options than the defaults."""
    backbone = "resnet20" if backbone == "alone" else backbone
    # A branch that starts at zero gives what is in it no gradient in the first step.
    keys = {"model__options": SMALLER.get(attn, {}), "model__zero_init_residual": False} if smaller else {}
    net = model.build(recipe(attn, backbone, seed=seed, **keys), shape_for(attn, size))
    return net.to(memory_format=torch.channels_last)


def leave_out_repeated_blocks(net: nn.Module) -> nn.Module:
    """Keep one of the blocks of a stage that have the same parts and shapes: the others repeat its operations."""
    for name, stage in net.named_children():
        if isinstance(stage, nn.Sequential):
            kinds = {}
            for block in stage:
                kind = tuple((path, type(m).__name__) for path, m in block.named_modules())
                kinds.setdefault((kind, tuple(v.shape for v in block.state_dict().values())), block)
            setattr(net, name, nn.Sequential(*kinds.values()))
    return net


def samples(attn: str, size: int, n: int = 4) -> Tensor:
    """n images (n, 3, H, W) in channels_last order, or n / 2 clips of four frames."""
    frames = shape_for(attn, size).frames
    g = torch.Generator().manual_seed(1)
    if frames:
        return torch.randn(max(n // 2, 1), frames, 3, size, size, generator=g)
    return torch.randn(n, 3, size, size, generator=g).to(memory_format=torch.channels_last)


def count(net: nn.Module) -> int:
    """Number of parameters."""
    return sum(p.numel() for p in net.parameters())


def is_dead(attn: str, name: str) -> bool:
    """Whether a card says of a parameter, by its name within the mechanism, that it gets no gradient."""
    return any(fnmatch(name, d) or name.startswith(d + ".") for d in attention.describe_mechanism(attn).card.dead)


@pytest.mark.parametrize(("attn", "backbone", "size"), FITTING)
def test_learns_in_every_network(attn: str, backbone: str, size: int) -> None:
    """A step as the loop does it, bf16 and channels_last, gives finite gradients to all, and some are not zero."""
    net = leave_out_repeated_blocks(build(attn, backbone, size, smaller=True)).train()
    for m in net.modules():
        if isinstance(m, nn.modules.batchnorm._BatchNorm):
            m.momentum = 1.0  # so that the evaluation below knows these maps: some of the mechanisms are not bounded
    settings = recipe(attn, train__lr=0.001).train  # as early in a warm-up: norms have seen four values a channel
    optimizer = optim.build_optimizer(group_parameters(net, settings, attn), settings, CPU)
    x = samples(attn, size)
    objective = TrainingObjective(net, smoothing=0.0, precision="bf16", device=CPU, own_loss=find_own_loss(net, attn))
    loss = objective(x, torch.arange(len(x)))
    loss.backward()
    assert loss.isfinite()
    dead = {id(p) for m in model.find_mechanisms(net).values() for n, p in m.named_parameters() if is_dead(attn, n)}
    for name, p in net.named_parameters():
        if id(p) not in dead:
            assert p.grad is not None, f"{name}: no gradient"
            assert p.grad.isfinite().all(), f"{name}: gradient is not finite"
    grads = [p.grad for m in model.find_mechanisms(net).values() for p in m.parameters() if p.grad is not None]
    assert not grads or any(g.any() for g in grads), "the mechanism learns nothing"
    with torch.no_grad():  # before the step, which is as large as gradients of four values are
        y = forward(net.eval(), (x[:1],))
    assert y.shape == (1, 10)
    assert y.isfinite().all() or (attn, backbone, size) == UNBOUNDED
    optimizer.step()
    assert all(p.isfinite().all() for p in net.parameters())


BEFORE_A_NORM = [
    n for n in PLACED
    if (card := attention.describe_mechanism(n).card).site in ("pre-norm", "conv", "branch-convs")
    and not card.replaces_norm
]  # fmt: skip
TAKEN_BY_THE_NORM = {"aa": {"conv.bias", "out.bias"}}  # as in its ports; the card says so


@pytest.mark.parametrize("attn", BEFORE_A_NORM)
def test_the_norm_of_the_network_takes_no_parameter_away(attn: str) -> None:
    """In front of a norm, too, all parameters learn but those that the card or the table above names."""
    net = leave_out_repeated_blocks(build(attn, "resnet20", 8, smaller=True)).double().train()
    mechanisms = list(model.find_mechanisms(net).values())
    for mechanism in mechanisms:
        randomise(mechanism)
    x = samples(attn, 8).double()
    nn.functional.cross_entropy(forward(net, (x,)), torch.arange(len(x))).backward()
    largest: dict[str, float] = defaultdict(float)  # share of a gradient, of all places
    for mechanism in mechanisms:
        sizes = {name: p.grad.abs().max().item() for name, p in mechanism.named_parameters() if p.grad is not None}
        for name, size in sizes.items():
            largest[name] = max(largest[name], size / max(sizes.values()))
    learns_nothing = {name for name, share in largest.items() if share < 1e-10 and not is_dead(attn, name)}
    assert learns_nothing == TAKEN_BY_THE_NORM.get(attn, set())


@contextmanager
def noting_facts(attn: str, net: nn.Module) -> Iterator[dict[str, dict[str, Any]]]:
    """By path, what each mechanism really meets in a forward pass, in the words of the facts of a place."""
    found: dict[str, dict[str, Any]] = {}

    def note(path: str) -> Any:
        def hook(_: nn.Module, inputs: tuple[Tensor, ...], y: Tensor) -> None:
            x = inputs[0]
            maps = x.ndim == 4 and y.ndim == 4
            facts = {
                "channels_in": x.shape[1],
                "channels": y.shape[1] if maps else x.shape[1],
                "size": tuple(x.shape[2:]),
                "stride": -(-x.shape[2] // y.shape[2]) if maps else 1,
                "classes": 10,
                "frames": shape_for(attn).frames,
            }
            found[path] = DEFAULT_FACTS | facts

        return hook

    handles = [m.register_forward_hook(note(path)) for path, m in model.find_mechanisms(net).items()]
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()


def meet_shapes(attn: str, net: nn.Module, shape: tuple[int, ...]) -> dict[str, dict[str, Any]]:
    """The facts of each place in a forward pass without numbers: meta tensors, or fake ones, which are slower."""
    try:
        with noting_facts(attn, net) as met, torch.no_grad():
            net.eval()(torch.empty(shape, device="meta"))
    except RuntimeError:  # of an operator that meta tensors lack
        with noting_facts(attn, net) as met:
            run_on_fake_tensors(net, shape, lambda network, images, _: network(images), training=False)
    return met


@cache
def plain(backbone: str, size: int, clips: str) -> nn.Module:
    """The network without a mechanism; `clips` names a mechanism that works on the same kind of data."""
    with torch.device("meta"):
        return model.build(recipe("none", backbone), shape_for(clips, size))


def kept(net: nn.Module) -> set[str]:
    """The names that the backbone's own parameters have in the plain network."""
    names = (n for n, _ in net.named_parameters())
    return {n.replace(".host.", ".") for n in names if ".attn." not in n}


BASIC_BOTTLENECK_INVERTED = (("resnet20", 32), ("resnet50", 224), ("mobilenet_v2", 16))
COUNTED = [(n, *network) for n in PLACED for network in BASIC_BOTTLENECK_INVERTED] + [(n, "alone", 32) for n in ALONE]


@pytest.mark.parametrize(("attn", "backbone", "size"), [case for case in COUNTED if case not in REFUSED])
def test_overhead_is_the_sum_of_the_formula_over_the_places(attn: str, backbone: str, size: int) -> None:
    """Each place adds what the card's formula says of the shapes met there, and nothing else is added or lost.

    What goes is only what is replaced: a convolution with its norm, or the classifier of clips. Nothing is
    computed: the tensors have shapes and no numbers.
    """
    with torch.device("meta"):
        net = build(attn, backbone, size)
    met = meet_shapes(attn, net, image_shape(1, (size, size), shape_for(attn).frames))
    assert met.keys() == model.find_mechanisms(net).keys()
    added = 0
    for path, facts in met.items():
        if attention.describe_mechanism(attn).card.site == "conv":
            facts["groups"] = plain(backbone, size, attn).get_submodule(path.removesuffix(".attn")).groups
        formula = own(attn).parameters(facts, {})
        assert count(net.get_submodule(path)) == formula, f"{path}: {facts}"
        added += formula
    if backbone == "alone":
        assert count(net) == added
        return
    whole = plain(backbone, size, attn)
    gone = sum(p.numel() for name, p in whole.named_parameters() if name not in kept(net))
    assert count(net) - count(whole) == added - gone


@pytest.mark.parametrize(("attn", "backbone", "size"), REFUSED)
def test_what_cannot_fit_is_refused_with_the_reason(attn: str, backbone: str, size: int) -> None:
    """Before training, in a line that names the mechanism, the network, the place and its facts."""
    with pytest.raises(UserError) as refused:
        build(attn, backbone, size)
    problem = refused.value.problem
    assert problem.startswith(f"attention '{attn}' does not fit {backbone} at ")
    assert REFUSED[attn, backbone, size] in problem
    assert f"attncli show {attn}" in refused.value.hint
    is_size_the_reason = attn == "gsop"
    assert ("2 x 2" in refused.value.hint) == is_size_the_reason  # the smallest map that works


@pytest.mark.parametrize("attn", attention.mechanism_names())
def test_state_dict_round_trip(attn: str) -> None:
    """The weights of a trained network, put into one of another seed, give the same logits to the last bit."""
    one, other = build(attn, "resnet20", 8, seed=0), build(attn, "resnet20", 8, seed=1)
    x = samples(attn, 8)
    forward(one.train(), (x,))  # moves running statistics
    other.load_state_dict(one.state_dict())
    with torch.no_grad():
        assert torch.equal(forward(one.eval(), (x,)), forward(other.eval(), (x,)))


def batches_seen(attn: str, seed: int) -> list[Tensor]:
    """The images of every step of a training of two epochs."""
    made = recipe(attn, seed=seed, train__epochs=2, train__batch_size=10, data__val_fraction=0.0)
    data = dataset(n=30, val=None)
    net = model.build(made, model.InputSpec(len(data.classes), data.size))
    seen: list[Tensor] = []
    net.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].clone()))
    list(train_model(net, data, made))
    return seen


def test_variants_of_a_seed_see_the_same_batches() -> None:
    """Order, crops and flips do not depend on the mechanism, though some draw weights or hold other submodules."""
    seen = batches_seen("none", seed=3)
    assert len(seen) == 6
    for attn in ("eca", "stn", "dyconv", "gct"):
        assert all(torch.equal(a, b) for a, b in zip(seen, batches_seen(attn, seed=3), strict=True)), attn
    assert not any(torch.equal(a, b) for a, b in zip(seen, batches_seen("none", seed=4), strict=True))
