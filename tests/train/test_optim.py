"""The optimiser, its groups and its state."""

import pytest
import torch

from attncli.train import optim
from tests.train.case import net, recipe

CPU = torch.device("cpu")
REFERENCE = {
    "sgd": lambda groups: torch.optim.SGD(groups, lr=0.1, momentum=0.8, nesterov=True, foreach=False),
    "adam": lambda groups: torch.optim.Adam(groups, lr=0.1, betas=(0.8, 0.999), foreach=False),
    "adamw": lambda groups: torch.optim.AdamW(groups, lr=0.1, betas=(0.8, 0.999), foreach=False),
}


def groups(model):
    """Matrices with weight decay, the rest without and at half the rate."""
    named = list(model.named_parameters())
    return [
        {"params": [p for _, p in named if p.ndim > 1], "weight_decay": 0.1, "lr_scale": 1.0},
        {"params": [p for _, p in named if p.ndim <= 1], "weight_decay": 0.0, "lr_scale": 0.5},
    ]


def steps(model, optimizer, count=3):
    """A few steps on gradients that follow from the step alone."""
    for step in range(count):
        g = torch.Generator().manual_seed(step)
        for p in model.parameters():
            p.grad = torch.empty_like(p).copy_(torch.randn(p.shape, generator=g))
        optimizer.step()


@pytest.mark.parametrize("name", REFERENCE)
def test_is_the_textbook_optimizer(name):
    """The fast form computes what torch's plain loop over parameters does, decay and rate by group."""
    train = recipe(optimizer=name, momentum=0.8).train
    fast, plain = net().to(memory_format=torch.channels_last), net()
    ours, theirs = optim.build_optimizer(groups(fast), train, CPU), REFERENCE[name](groups(plain))
    optim.set_learning_rate(ours, 0.02)
    theirs.param_groups[0]["lr"], theirs.param_groups[1]["lr"] = 0.02, 0.01
    steps(fast, ours)
    steps(plain, theirs)
    for p, q in zip(fast.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(p, q, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
@pytest.mark.parametrize("name", REFERENCE)
def test_state_comes_back_to_the_bit(name, layout):
    """Steps after saving and restoring are those without it, whatever layout the saved tensors have."""
    train = recipe(optimizer=name).train
    whole, broken = net().to(memory_format=layout), net().to(memory_format=layout)
    first, second = optim.build_optimizer(groups(whole), train, CPU), optim.build_optimizer(groups(broken), train, CPU)
    steps(whole, first, 5)
    steps(broken, second, 2)
    saved = {name: value.clone().contiguous() for name, value in optim.collect_optimizer_tensors(second).items()}
    third = optim.build_optimizer(groups(broken), train, CPU)
    optim.restore_optimizer(third, saved)
    for step in range(2, 5):
        g = torch.Generator().manual_seed(step)
        for p in broken.parameters():
            p.grad = torch.empty_like(p).copy_(torch.randn(p.shape, generator=g))
        third.step()
    for p, q in zip(whole.parameters(), broken.parameters(), strict=True):
        assert torch.equal(p, q)


def test_no_momentum_no_nesterov():
    """Nesterov's form needs a momentum; without one it is plain gradient descent, with nothing to save."""
    model = net()
    optimizer = optim.build_optimizer(groups(model), recipe(momentum=0.0, nesterov=True).train, CPU)
    steps(model, optimizer, 1)
    assert optim.collect_optimizer_tensors(optimizer) == {}


@pytest.mark.parametrize("restored", [False, True])
def test_a_first_gradient_may_come_late(restored):
    """A network that skips a block in its first steps trains it later as if its momentum had been zero until then."""
    early, late = (torch.nn.Parameter(torch.ones(3)) for _ in range(2))
    train = recipe(momentum=0.5, nesterov=False, lr=1.0).train
    parameters = [{"params": [early, late], "weight_decay": 0.0, "lr_scale": 1.0}]
    optimizer = optim.build_optimizer(parameters, train, CPU)
    early.grad = torch.ones(3)
    optimizer.step()
    if restored:
        saved = {"0.momentum_buffer": torch.ones(3)}
        optimizer = optim.build_optimizer(parameters, train, CPU)
        optim.restore_optimizer(optimizer, saved)
    late.grad = torch.ones(3)
    optimizer.step()
    optimizer.step()
    assert early.tolist() == pytest.approx([1 - 1.0 - 1.5 - 1.75] * 3)
    assert late.tolist() == pytest.approx([1 - 1.0 - 1.5] * 3)


@pytest.mark.parametrize("name", REFERENCE)
def test_complex_weights_are_trained(name):
    """Beside real ones, as the plain loop over parameters does; their state comes back."""

    def make():
        g = torch.Generator().manual_seed(3)
        parameters = [torch.randn(3, generator=g), torch.randn(3, generator=g, dtype=torch.complex64)]
        return torch.nn.ParameterList(parameters)

    train = recipe(optimizer=name, momentum=0.8).train
    fast, plain = make(), make()
    ours = optim.build_optimizer([{"params": list(fast), "weight_decay": 0.1}], train, CPU)
    theirs = REFERENCE[name]([{"params": list(plain), "weight_decay": 0.1}])
    optim.set_learning_rate(ours, 0.1)
    for _ in range(3):
        for parameters, optimizer in ((fast, ours), (plain, theirs)):
            optimizer.zero_grad()
            sum((p * p.conj()).real.sum() for p in parameters).backward()
            optimizer.step()
        optim.restore_optimizer(ours, {k: v.clone() for k, v in optim.collect_optimizer_tensors(ours).items()})
    for p, q in zip(fast, plain, strict=True):
        torch.testing.assert_close(p, q, rtol=1e-5, atol=1e-6)
