"""The matrix of mechanisms and backbones: complete, true, and readable."""

import json
from typing import Any

import pytest
import torch

from attncli import attention, backbones, model
from attncli.attention.card import SITES
from attncli.backbones import compatibility
from attncli.train import optim
from attncli.train.loss import TrainingObjective
from attncli.validation import read
from tests import matrix
from tests.commands.line import line

CPU = torch.device("cpu")
PAIRS = [(name, attn) for name in backbones.backbone_names() for attn in matrix.MECHANISMS]
FITTING = [(name, attn) for name, attn in PAIRS if compatibility.find_misfit(attn, name) is None]
SMALLEST = {  # of each family, the quickest to build
    "convnext_tiny", "densenet121", "efficientnet_b0", "mnasnet1_0", "mobilenet_v2", "mobilenet_v3_small",
    "preactresnet20", "regnet_y_400mf", "resnet18", "resnet20", "shufflenet_v2_x1_0", "vgg16_bn",
}  # fmt: skip
MEANS = {"eca": "gate", "simam": "pre-norm", "dcn": "conv", "ca": "gate or mid", "gct": "conv-input", "danet": "head"}
MEANS |= {"highway": "join", "gala": "gate", "spnet": "mid", "tam": "frames", "gltr": "frames-head", "stn": "input"}


def test_the_file_knows_every_pair() -> None:
    """Every backbone has an entry, which names only sites and mechanisms that there are."""
    assert tuple(compatibility.load_compatibility()) == backbones.backbone_names()
    for found in compatibility.load_compatibility().values():
        assert found.refused.keys() <= set(matrix.MECHANISMS)
        assert set(found.sites) - {"built-in se"} <= set(SITES)


@pytest.mark.parametrize("name", sorted(SMALLEST - {"densenet121"}))
def test_the_sites_of_the_file_are_found(name: str) -> None:
    """The sites are those of the network that is built."""
    assert tuple(matrix.available(name)) == compatibility.load_compatibility()[name].sites


SLOW = {"convnext_tiny", "densenet121", "efficientnet_b0"}  # to go forth and back; others stand for them below
SAMPLE = [(sorted(SMALLEST)[i % len(SMALLEST)], attn) for i, attn in enumerate(matrix.MECHANISMS)]


@pytest.mark.parametrize(("name", "attn"), SAMPLE)
def test_a_sample_of_the_file_is_true(name: str, attn: str) -> None:
    """Each mechanism in one family, in turn: it is built and goes forth and back, or is refused as the file says."""
    assert matrix.problem(name, attn, step=name not in SLOW) == compatibility.load_compatibility()[name].refused.get(
        attn
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", backbones.backbone_names())
def test_the_whole_file_is_true(name: str) -> None:
    """Every pair of every backbone is built and goes forth and back in training, or is refused as the file says."""
    found = compatibility.load_compatibility()[name]
    assert matrix.entry(name) == {
        "sites": list(found.sites),
        **({"refused": found.refused} if found.refused else {}),
    }


def step(name: str, attn: str) -> None:
    """A step of training as the loop does it on two images of 32 px, or two clips of two frames."""
    frames = 2 if attention.describe_mechanism(attn).card.site.startswith("frames") else None
    made = read(None, [f"model.backbone={name}", f"model.attn={attn}"])
    net = model.build(made, model.InputSpec(10, (32, 32), frames)).train()
    optimizer = optim.build_optimizer(model.group_parameters(net, made.train, attn), made.train, CPU)
    x = torch.randn(2, *((frames,) if frames else ()), 3, 32, 32, generator=torch.Generator().manual_seed(0))
    loss = TrainingObjective(net, smoothing=0.0, precision="fp32", device=CPU)(x, torch.arange(2))
    loss.backward()
    optimizer.step()
    assert loss.isfinite()
    assert all(p.isfinite().all() for p in net.parameters())


NEW = ("convnext_tiny", "efficientnet_b0", "mobilenet_v3_small", "preactresnet20", "regnet_y_400mf", "vgg16_bn")
STEPS = [*((NEW[i % len(NEW)], attn) for i, attn in enumerate(MEANS)), ("vgg16_bn", "gltr")]


@pytest.mark.parametrize(
    ("name", "attn"), [pair for pair in STEPS if compatibility.find_misfit(pair[1], pair[0]) is None]
)
def test_a_sample_steps_in_earnest(name: str, attn: str) -> None:
    """A mechanism of each site in one of the families takes a step of the optimiser with finite numbers."""
    step(name, attn)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "attn"), [pair for pair in FITTING if pair[0] in SMALLEST])
def test_every_fitting_pair_steps_in_earnest(name: str, attn: str) -> None:
    """Each mechanism in each family where the file says that it fits."""
    step(name, attn)


def rows() -> list[dict[str, Any]]:
    """The matrix as programs get it."""
    return json.loads(line("ls", "matrix", "--json").out)


def test_rows_for_programs() -> None:
    """A row a pair; what does not fit has a reason and nothing else has."""
    found = rows()
    assert len(found) == len(PAIRS)
    assert {(r["backbone"], r["attn"]) for r in found} == set(PAIRS)
    assert all(bool(r["reason"]) is not r["fits"] for r in found)
    assert {r["reason"] for r in found if (r["backbone"], r["attn"]) == ("convnext_tiny", "sk")} == {"no site conv"}


def test_table_for_people(monkeypatch: pytest.MonkeyPatch) -> None:
    """In 80 columns a line a mechanism with a sign a backbone, then every letter, reason and built-in attention."""
    monkeypatch.setenv("COLUMNS", "80")
    told = line("ls", "matrix").out
    lines = told.splitlines()
    assert max(map(len, lines)) <= 80
    signs = {words[0]: "".join(words[1:]) for words in map(str.split, lines[1 : 1 + len(matrix.MECHANISMS)])}
    letters = lines[0].replace(" ", "")
    assert list(signs) == matrix.MECHANISMS
    for attn, found in signs.items():
        assert [sign == "+" for sign in found] == [
            compatibility.find_misfit(attn, name) is None for name in backbones.backbone_names()
        ]
    for letter, name in zip(letters, backbones.backbone_names(), strict=True):
        assert f"{letter} {name}" in told
    assert "24 channels cannot be split evenly among n=16" in " ".join(told.split())


def test_backbones_show_their_sites(monkeypatch: pytest.MonkeyPatch) -> None:
    """A line each with what it lacks and what is built in; all sites by name for programs."""
    monkeypatch.setenv("COLUMNS", "80")
    told = line("ls", "backbones").out
    assert max(map(len, told.splitlines())) <= 80
    (convnext,) = [row for row in told.splitlines() if row.split()[:1] == ["convnext_tiny"]]
    assert convnext.split()[2:] == ["all", "but", "conv,", "mid"]
    assert "all; built-in se" in " ".join(told.split())
    assert "timm/NAME" in told
    (found,) = [r for r in json.loads(line("ls", "backbones", "--json").out) if r["name"] == "vgg16_bn"]
    assert "join" not in found["sites"]
    assert "gate" in found["sites"]
