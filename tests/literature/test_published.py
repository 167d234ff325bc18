"""Published parameter counts against ours: every row that can be compared is, every other one says why not."""

from typing import Any

import pytest
import torch
from torch import nn

from attncli import attention, backbones
from attncli.attention.branch import odconv
from attncli.literature.published import (
    NO_MATCH,
    SOURCE_NAMES,
    ParameterMatch,
    PublishedNetwork,
    PublishedRow,
    _parse_row,
    agrees_with_print,
    find_rows_about,
    load_published_rows,
)
from tests.literature.case import count_parameters

COUNTED = [r for r in load_published_rows() if r.figures.keys() & {"params", "params_m"}]
MATCHED = [(r, r.match) for r in COUNTED if isinstance(r.match, ParameterMatch)]
NETWORKS = list(dict.fromkeys(match.network for _, match in MATCHED))


def label(network: PublishedNetwork) -> str:
    """A name for a test: backbone, mechanism, options."""
    options = ",".join(f"{k}={v}" for k, v in network.options)
    return f"{network.backbone}-{network.attn}[{options}]-{network.size}px-{network.classes}"


def made(**item: Any) -> PublishedRow:
    """A row of resnet20 on CIFAR-10."""
    named = {"dataset": "CIFAR-10", "backbone": "resnet20", "attn": "none", "source": "a table", "verified": "no"}
    return _parse_row(named | item, "se")


@pytest.mark.parametrize("network", NETWORKS, ids=label)
def test_ours_is_what_is_printed(network: PublishedNetwork) -> None:
    """The network has the parameters that every matched row prints for it, at the row's precision and in its unit."""
    ours = count_parameters(network)
    of_it = [row for row, match in MATCHED if match.network == network]
    assert [(r.figures, r.source) for r in of_it if not agrees_with_print(r, ours)] == []


def test_every_row_with_parameters_says_how_it_compares() -> None:
    """A row has a match, or a reason for having none, if and only if it has a figure of parameters."""
    assert [r for r in COUNTED if r.match is None] == []
    assert [r for r in load_published_rows() if r.match is not None and r not in COUNTED] == []
    assert all(len(r.match) > len(NO_MATCH) + 10 for r in COUNTED if isinstance(r.match, str))


@pytest.mark.parametrize(
    ("part", "known"), [("backbone", backbones.backbone_names()), ("attn", attention.mechanism_names())]
)
def test_parts_said_to_be_missing_are_missing(part: str, known: tuple[str, ...]) -> None:
    """A row goes unmatched for want of its backbone or mechanism only until there is one of that name."""
    reason = {"backbone": "no: backbone not in attncli", "attn": "no: mechanism not in attncli"}[part]
    claimed = [r for r in COUNTED if isinstance(r.match, str) and r.match.startswith(reason)]
    assert claimed or part == "attn"  # of mechanisms none is missing now
    assert {getattr(r, part) for r in claimed} & set(known) == set()


def norm_channels(name: str) -> int:
    """Channels of all norms of a network."""
    with torch.device("meta"):
        net = backbones.load(name).build(name, 10, cifar_stem=False)
    return sum(m.num_features for m in net.modules() if isinstance(m, nn.BatchNorm2d))


def test_what_is_added_is_derived() -> None:
    """Every `plus` is the count of what its `why` names, not whatever makes a row fit."""
    shortcuts = 16 * 32 + 32 * 64 + 2 * (32 + 64)  # 1x1 convolutions and their norms
    statistics = {name: 2 * (norm_channels(name) + 32 + 64) for name in ("resnet20", "resnet56")}
    one_a_channel = {"resnet50": 3 * 256 + 4 * 512 + 6 * 1024 + 3 * 2048, "resnet101": 17 * 1024 + 15104}
    for row, match in MATCHED:
        if "bias in the gathering" in match.why:
            assert match.plus == one_a_channel[row.backbone]
        elif "running statistics" in match.why:
            assert match.plus == shortcuts + statistics[row.backbone]
        elif "a norm after the stem" in match.why:
            assert match.plus == 2 * 16 - 2 * 64
        elif "1x1 shortcuts" in match.why:
            assert match.plus == shortcuts
        elif "last 1x1 convolution is dynamic" in match.why:
            dynamic = odconv.Attention(1280, 320, kernel=1, **dict(match.network.options))
            assert match.plus == sum(p.numel() for p in dynamic.parameters()) - 320 * 1280
        else:
            assert match.plus == 0


def test_other_names_of_networks_are_those_of_the_matches() -> None:
    """A row is looked up by our name of its network, which is the one that its match builds."""
    assert set(SOURCE_NAMES.values()) <= set(backbones.backbone_names())
    assert SOURCE_NAMES.keys() & set(backbones.backbone_names()) == set()
    assert [r for r, match in MATCHED if match.network.backbone != r.own_backbone] == []


@pytest.mark.parametrize(
    ("attn", "is_form"),
    [
        ("ge", True),
        ("ge theta-plus", True),
        ("ge (theta+)", True),
        ("ge, 5 blocks", True),
        ("ge-lf", True),
        ("2 x ge", True),
        ("get", False),
        ("se-ge", False),
    ],
)
def test_forms_of_a_mechanism_are_about_it(attn: str, is_form: bool) -> None:
    """Sources call them by its name and more; a longer word is another mechanism."""
    assert made(attn=attn).is_about("ge") is is_form


def test_no_row_is_about_two_mechanisms() -> None:
    """One name begins no other one of a mechanism that has published figures."""
    names = attention.mechanism_names()
    assert [r.attn for r in load_published_rows() if sum(map(r.is_about, names)) > 1] == []
    assert sum(row.is_about("dcn") for row in find_rows_about("dcn")) > 8


@pytest.mark.parametrize(
    ("figure", "match", "params", "expected"),
    [
        ({"params_m": 0.27}, {}, 269_722, True),
        ({"params_m": 0.27}, {}, 275_001, False),
        ({"params_m": 0.2697}, {}, 269_722, True),
        ({"params_m": 0.2698}, {}, 269_722, False),
        ({"params": 269_722}, {}, 269_722, True),
        ({"params": 269_722, "params_m": 0.27}, {}, 269_723, False),
        ({"params_m": 57.4}, {"unit": "2^20"}, 60_192_808, True),
        ({"params_m": 57.4}, {"unit": "2^20", "digits": 2}, 60_192_808, True),
        ({"params_m": 57.4}, {"unit": "2^20", "digits": 2}, 60_200_000, False),
        ({"params_m": 57.4}, {}, 60_192_808, False),
        ({"params_m": 26.237}, {}, 26_237_844, False),
        ({"params_m": 26.237}, {"cut": True}, 26_237_844, True),
        ({"params": 272_474}, {"plus": 2752, "why": "option B"}, 269_722, True),
        ({"params_m": 632}, {}, 632_045_800, True),
        ({"params_m": 632}, {}, 631_400_000, False),
    ],
)
def test_precision(figure: dict[str, Any], match: dict[str, Any], params: int, expected: bool) -> None:
    """A figure agrees when ours prints the same: rounded or cut to its digits, in its unit, or all of an exact one."""
    assert agrees_with_print(made(match=match, **figure), params) is expected


def test_a_match_names_only_what_differs() -> None:
    """Backbone, mechanism, classes and size come from the row, and a match goes before them."""
    row = made(params=1, match={})
    assert row.match == ParameterMatch(network=PublishedNetwork(backbone="resnet20", attn="none", classes=10, size=32))
    changed = made(params=1, match={"attn": "se", "options": {"bias": True}, "stages": [1, 2], "size": 64})
    assert isinstance(changed.match, ParameterMatch)
    assert changed.match.network.to_recipe_values() == {
        "model.backbone": "resnet20",
        "model.attn": "se",
        "model.options": {"bias": True},
        "model.stages": [1, 2],
    }
    assert changed.match.network.size == 64


@pytest.mark.parametrize(
    "item",
    [
        {"match": "unknown"},
        {"match": {"colour": "red"}},
        {"match": {"unit": "dozens"}},
        {"match": {}, "dataset": "nowhere"},
    ],
    ids=str,
)
def test_malformed_matches_are_refused(item: dict[str, Any]) -> None:
    """A word that is no reason, an unknown key or unit, and images of unknown size are errors."""
    with pytest.raises((TypeError, KeyError, ValueError)):
        made(params=1, **item)
