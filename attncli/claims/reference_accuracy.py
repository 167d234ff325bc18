"""Whether the plain network was trained well enough here for a verdict on accuracy: its published figure decides."""

import statistics
from collections.abc import Iterable, Sequence

from attncli import backbones, validation
from attncli.analysis.network_key import RunIndex, make_network_key
from attncli.attention import NONE
from attncli.dataset_catalog import find_properties
from attncli.literature.published import PublishedRow, load_published_rows

ALLOWED_SHORTFALL = 0.01  # of top-1 below the lowest published figure of the plain network
VARIED = ("variant", "basis", "img_size", "pretrain", "epochs")  # a row with one of these is of another training


def find_published_top1(backbone: str, dataset: str) -> float | None:
    """Return the lowest published top-1 of a plain network on a dataset, 0 to 1, or None if none is known."""
    properties = find_properties(dataset)
    if properties is None or properties.printed_name is None:
        return None
    figures = [
        top1
        for row in load_published_rows()
        if (row.own_backbone, row.attn, row.dataset) == (backbone, NONE, properties.printed_name)
        and row.verified != "no"
        and not any(key in row.figures for key in VARIED)
        and (top1 := _read_top1(row)) is not None
    ]
    return min(figures, default=None)


def _read_top1(row: PublishedRow) -> float | None:
    if "top1" in row.figures:
        return float(row.figures["top1"]) / 100
    error = row.figures.get("err1", row.figures.get("error"))
    return None if error is None else 1 - float(error) / 100


def describe_shortfall(
    backbone_names: Iterable[str], dataset: str, protocol: str, run_index: RunIndex, accuracies: Sequence[float]
) -> str:
    """Return why accuracies of a protocol decide nothing yet, "" if they do or no figure is published.

    Args:
        backbone_names: The backbones of the compared networks.
        dataset: The dataset of the runs.
        protocol: The key of their recipe and images.
        run_index: All finished runs.
        accuracies: The means of the compared networks, used if the plain network was not trained with this recipe.
    """
    for name in dict.fromkeys(backbone_names):
        published = find_published_top1(name, dataset) if name in backbones.backbone_names() else None
        if published is None:
            continue
        plain_key = make_network_key(validation.read(values={"model.backbone": name}).model)
        plain = [run.result.test_top1 or 0.0 for run in run_index.get(plain_key, {}).get(protocol, [])]
        reached, whose = (statistics.fmean(plain), f"plain {name}") if plain else (max(accuracies), "the best network")
        if reached < published - ALLOWED_SHORTFALL:
            accepted = "it" if plain else f"it, or plain {name} trained by this recipe,"
            return (
                f"{whose} has {reached:.1%} here, {100 * (published - reached):.1f} points below the published "
                f"{published:.2%} of plain {name}: no verdict before {accepted} is within "
                f"{100 * ALLOWED_SHORTFALL:g} point"
            )
    return ""
