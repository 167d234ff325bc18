"""Facts of the other names of mechanisms, backbones and datasets: each leads to one thing, and none hides another."""

import pytest

from attncli import attention, backbones, data
from attncli.dataset_catalog import list_dataset_aliases
from attncli.errors import fold_name, suggest_name

KINDS = {
    "mechanism": (attention.list_mechanism_aliases, attention.mechanism_names),
    "backbone": (backbones.list_backbone_aliases, backbones.backbone_names),
    "dataset": (list_dataset_aliases, lambda: tuple(data.DATASETS)),
}


@pytest.mark.parametrize("kind", KINDS)
def test_other_names_lead_to_what_exists(kind):
    """What is suggested for an alias is a known name, and an alias is not the name of something else."""
    aliases, names = (function() for function in KINDS[kind])
    assert {text.split("'")[1] for text in aliases.values()} <= set(names)
    folded_names = {fold_name(name): f"'{name}'" for name in names}
    assert [alias for alias, text in aliases.items() if folded_names.get(fold_name(alias), text) != text] == []


def test_no_alias_stands_for_two_mechanisms():
    """One name leads to one mechanism, whatever its letter case and signs."""
    meanings: dict[str, set[str]] = {}
    for name in attention.mechanism_names():
        for alias in attention.describe_mechanism(name).card.aliases:
            meanings.setdefault(fold_name(alias.split()[0]), set()).add(name)
    assert {alias: names for alias, names in meanings.items() if len(names) > 1} == {}


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("senet", "se"),
        ("CoordAtt", "ca"),
        ("coordinate-attention", "ca"),
        ("nonlocal", "self-attention"),
        ("non-local", "self-attention"),
        ("skconv", "sk"),
        ("SKNet", "sk"),
        ("ECA", "eca"),
        ("CBAM", "cbam"),
        ("gca", "gc"),
        ("nl", "self-attention"),
        ("CoTAttention", "cot"),
        ("splitattn", "splat"),
        ("shuffle", "sa"),
        ("ShuffleAttention", "sa"),
        ("DoubleAttention", "a2"),
        ("bottleneck", "bot"),
        ("effective-se", "ese"),
        ("SEAttention", "se"),
        ("A2Attention", "a2"),
        ("NAM_Attention", "nam"),
        ("CPCAAttention", "cpca"),
        ("SKAttention", "sk"),
        ("GCBlock", "gc"),
        ("BAMBlock", "bam"),
        ("FcaLayer", "fca"),
        ("cc", "criss-cross"),
    ],
)
def test_names_of_repositories(typed, meant):
    """What papers and repositories call a mechanism leads to it, and not to one that is spelled alike."""
    hint = suggest_name(typed, attention.mechanism_names(), attention.list_mechanism_aliases())
    assert hint == f"did you mean '{meant}'?"


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("wrn-28-10", "wide_resnet28_10"), ("mobilenetv2", "mobilenet_v2"), ("ResNet50", "resnet50"),
        ("resnett", "resnet18"), ("resnet5O", "resnet50"), ("resnxt50", "resnext50_32x4d"), ("resnet19", "resnet18"),
        ("mobilnet_v2", "mobilenet_v2"), ("desnenet121", "densenet121"), ("vgg61", "vgg16_bn"),
        ("wideresnet", "wide_resnet28_10"), ("shuflenet", "shufflenet_v2_x1_0"), ("convnxt", "convnext_tiny"),
    ],
)  # fmt: skip
def test_names_of_backbones(typed, meant):
    """The same for networks, and for typing errors in whole names and in their beginnings."""
    hint = suggest_name(typed, backbones.backbone_names(), backbones.list_backbone_aliases())
    assert hint == f"did you mean '{meant}'?"
