"""Which mechanism fits which backbone: the file is complete and true, and `attncli ls` shows it."""

import json
from typing import Any

import pytest
import torch

from attncli import attention, backbones, model
from attncli.attention.card import SITES
from attncli.backbones import compatibility
from attncli.train import optim
from attncli.train.loss import TrainingObjective, find_own_loss
from attncli.train.parameter_groups import group_parameters
from attncli.validation import read
from tests.commands.line import line
from tests.generate import compatibility as generator

CPU = torch.device("cpu")
MECHANISMS = generator.list_mechanisms()
PAIRS = [(name, attn) for name in backbones.backbone_names() for attn in MECHANISMS]
FITTING = [(name, attn) for name, attn in PAIRS if compatibility.find_misfit(attn, name) is None]
SMALLEST = {  # of each family, the quickest to build
    "convnext_tiny", "densenet121", "efficientnet_b0", "mnasnet1_0", "mobilenet_v2", "mobilenet_v3_small",
    "preactresnet20", "regnet_y_400mf", "resnet18", "resnet20", "shufflenet_v2_x1_0", "vgg16_bn",
}  # fmt: skip
MEANS = {"eca": "gate", "simam": "pre-norm", "dcn": "conv", "ca": "gate or mid", "gct": "conv-input", "danet": "head"}
MEANS |= {"highway": "join", "gala": "gate", "spnet": "mid", "tam": "frames", "gltr": "frames-head", "stn": "input"}


def test_the_file_knows_every_pair() -> None:
    """Every mechanism was built in every backbone, and only sites and mechanisms that exist are named."""
    assert compatibility.tried_mechanisms() == set(MECHANISMS), "make generate"
    assert tuple(compatibility.load_compatibility()) == backbones.backbone_names(), "make generate"
    for entry in compatibility.load_compatibility().values():
        assert entry.refused.keys() <= set(MECHANISMS)
        assert set(entry.sites) - {"built-in se"} <= set(SITES)


@pytest.mark.parametrize("name", sorted(SMALLEST - {"densenet121"}))
def test_the_sites_of_the_file_are_found(name: str) -> None:
    """The sites in the file are those of the network that is built."""
    assert tuple(generator.list_sites(name)) == compatibility.list_sites(name)


@pytest.mark.parametrize(
    ("name", "count"),
    [("resnet20", 9), ("resnet50", 16), ("mobilenet_v2", 10), ("preactresnet20", 0), ("vgg16_bn", 0)],
)
def test_residual_branches_that_end_with_a_norm(name: str, count: int) -> None:
    """One a block with a shortcut; a pre-activation branch ends with its convolution, VGG adds nothing."""
    assert compatibility.load_compatibility()[name].branch_norms == count == generator.count_branch_norms(name)
    assert compatibility.has_branch_norms(name) is (count > 0)
    assert compatibility.has_branch_norms("mine.py:Net")


# Those that run a step in a third of a second. The others take up to four, and take a step with real tensors below.
QUICK = {"preactresnet20", "resnet18", "resnet20", "vgg16_bn"}
SAMPLE = [(sorted(SMALLEST)[i % len(SMALLEST)], attn) for i, attn in enumerate(MECHANISMS)]


@pytest.mark.parametrize(("name", "attn"), SAMPLE)
def test_a_sample_of_the_file_is_true(name: str, attn: str) -> None:
    """Each mechanism in one family, in turn: it is built, or refused, as the file says; some run a step too."""
    problem = generator.find_problem(name, attn, with_step=name in QUICK)
    assert problem == compatibility.load_compatibility()[name].refused.get(attn)


@pytest.mark.slow
@pytest.mark.parametrize("name", backbones.backbone_names())
def test_the_whole_file_is_true(name: str) -> None:
    """Every pair of every backbone is built and runs a step in training, or is refused, as the file says."""
    entry = compatibility.load_compatibility()[name]
    assert generator.make_entry(name, {name}) == {
        "params": compatibility.load_backbone_parameters()[name],
        "branch_norms": entry.branch_norms,
        "sites": list(entry.sites),
        **({"refused": entry.refused} if entry.refused else {}),
    }


def step(name: str, attn: str) -> None:
    """Take a step of training as the loop does it, on two images of 32 px or two clips of two frames."""
    frames = 2 if attention.describe_mechanism(attn).needs_clips else None
    recipe = read(None, [f"model.backbone={name}", f"model.attn={attn}"])
    net = model.build(recipe, model.InputSpec(10, (32, 32), frames)).train()
    optimizer = optim.build_optimizer(group_parameters(net, recipe.train, attn), recipe.train, CPU)
    x = torch.randn(2, *((frames,) if frames else ()), 3, 32, 32, generator=torch.Generator().manual_seed(0))
    own_loss = find_own_loss(net, attn)
    loss = TrainingObjective(net, smoothing=0.0, precision="fp32", device=CPU, own_loss=own_loss)(x, torch.arange(2))
    loss.backward()
    optimizer.step()
    assert loss.isfinite()
    assert all(p.isfinite().all() for p in net.parameters())


NEW = ("convnext_tiny", "efficientnet_b0", "mobilenet_v3_small", "preactresnet20", "regnet_y_400mf", "vgg16_bn")
STEPS = [*((NEW[i % len(NEW)], attn) for i, attn in enumerate(MEANS)), ("vgg16_bn", "gltr")]
STEPS += [("mnasnet1_0", "external"), ("shufflenet_v2_x1_0", "stn")]


@pytest.mark.parametrize(
    ("name", "attn"), [pair for pair in STEPS if compatibility.find_misfit(pair[1], pair[0]) is None]
)
def test_a_sample_takes_a_step_with_real_tensors(name: str, attn: str) -> None:
    """A mechanism of each site in one of the families takes a step of the optimiser with finite numbers."""
    step(name, attn)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "attn"), [pair for pair in FITTING if pair[0] in SMALLEST])
def test_every_fitting_pair_takes_a_step_with_real_tensors(name: str, attn: str) -> None:
    """Each mechanism in each family where the file says that it fits."""
    step(name, attn)


def rows() -> list[dict[str, Any]]:
    """Return the matrix as programs get it."""
    return json.loads(line("ls", "matrix", "--json").out)


def test_rows_for_programs() -> None:
    """There is one row per pair; what does not fit has a reason and nothing else has."""
    pairs = rows()
    assert len(pairs) == len(PAIRS)
    assert {(r["backbone"], r["attn"]) for r in pairs} == set(PAIRS)
    assert all(bool(r["reason"]) is not r["fits"] for r in pairs)
    assert {r["reason"] for r in pairs if (r["backbone"], r["attn"]) == ("convnext_tiny", "sk")} == {"no site conv"}


def test_a_pair_that_was_not_built_is_reported_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    """A mechanism or backbone that the file lacks is neither said to fit nor a reason to crash."""
    tried, entries = compatibility.read_file()
    fewer = {name: entry for name, entry in entries.items() if name != "vgg16_bn"}
    monkeypatch.setattr(compatibility, "read_file", lambda: (tried - {"eca", "sk"}, fewer))
    by_pair = {(r["backbone"], r["attn"]): r for r in rows()}
    assert by_pair["resnet18", "eca"]["fits"] is None
    assert "make generate" in by_pair["resnet18", "eca"]["reason"]
    assert by_pair["convnext_tiny", "sk"]["fits"] is False  # it lacks the site in any case
    assert by_pair["vgg16_bn", "se"]["fits"] is None
    assert by_pair["resnet18", "se"]["fits"] is True
    (eca,) = [text.split() for text in line("ls", "matrix").out.splitlines() if text.split()[:1] == ["eca"]]
    assert set("".join(eca[1:])) == {"?"}
    listed = {r["name"]: r["sites"] for r in json.loads(line("ls", "backbones", "--json").out)}
    assert listed["vgg16_bn"] is None
    assert "make generate" in line("ls", "backbones").out


def test_only_what_is_missing_is_built(monkeypatch: pytest.MonkeyPatch) -> None:
    """`make generate` builds the pairs that the file lacks and keeps the others."""
    tried, entries = compatibility.read_file()
    monkeypatch.setattr(compatibility, "read_file", lambda: (tried - {"eca"}, entries))
    built: list[str] = []

    def note_built(backbone: str, attn: str) -> str:
        built.append(attn)
        return "does not fit"

    monkeypatch.setattr(generator, "find_problem", note_built)
    assert generator.make_entry("vgg16_bn", set())["refused"] == {"eca": "does not fit"} | entries["vgg16_bn"].refused
    assert built == ["eca"]
    generator.make_entry("vgg16_bn", {"sk"})
    assert built == ["eca", "eca", "sk"]


def test_table_for_people(monkeypatch: pytest.MonkeyPatch) -> None:
    """In 80 columns: one line per mechanism with one sign per backbone, then letters, reasons, built-in attention."""
    monkeypatch.setenv("COLUMNS", "80")
    text = line("ls", "matrix").out
    lines = text.splitlines()
    assert max(map(len, lines)) <= 80
    signs = {words[0]: "".join(words[1:]) for words in map(str.split, lines[1 : 1 + len(MECHANISMS)])}
    letters = lines[0].replace(" ", "")
    assert list(signs) == MECHANISMS
    for attn, row in signs.items():
        assert [sign == "+" for sign in row] == [
            compatibility.find_misfit(attn, name) is None for name in backbones.backbone_names()
        ]
    for letter, name in zip(letters, backbones.backbone_names(), strict=True):
        assert f"{letter} {name}" in text
    assert "24 channels" in " ".join(text.split())


def test_backbones_show_their_sites(monkeypatch: pytest.MonkeyPatch) -> None:
    """A line says what each backbone lacks and what is built in; programs get all sites by name."""
    monkeypatch.setenv("COLUMNS", "80")
    text = line("ls", "backbones").out
    assert max(map(len, text.splitlines())) <= 80
    (convnext,) = [row for row in text.splitlines() if row.split()[:1] == ["convnext_tiny"]]
    assert convnext.split()[2:] == ["28,589,128", "all", "but", "conv,", "mid"]
    assert "all; built-in se" in " ".join(text.split())
    assert "timm/NAME" in text
    (vgg,) = [r for r in json.loads(line("ls", "backbones", "--json").out) if r["name"] == "vgg16_bn"]
    assert "join" not in vgg["sites"]
    assert "gate" in vgg["sites"]


@pytest.mark.parametrize(
    ("backbone", "size", "times"),
    [
        ("resnet20", (224, 224), "49 times"),
        ("wide_resnet16_8", (128, 256), "32 times"),
        ("resnet20", (64, 64), None),
        ("resnet20", (64, 256), None),
        ("preactresnet18", (224, 224), None),
        ("timm/resnet50d", (224, 224), None),
    ],
)
def test_large_images_for_a_cifar_network_are_warned_of(
    backbone: str, size: tuple[int, int], times: str | None
) -> None:
    """From 128 px on, with what an image costs; networks that make maps smaller take any size."""
    text = compatibility.describe_large_images(backbone, size)
    assert (text is None) if times is None else (text is not None and times in text)
