"""Which mechanism fits which backbone: a table of signs for people, rows for programs."""

import string
from collections.abc import Sequence
from itertools import groupby

from attncli import attention, backbones
from attncli.backbones import compatibility
from attncli.system.terminal import fill_text

LETTERS = string.ascii_lowercase + string.ascii_uppercase
FITS, LACKS, REFUSED, UNTRIED = "+", ".", "x", "?"
UNTRIED_REASON = "has the site, but was not built yet (make generate)"


def list_compatibility_rows() -> list[dict[str, object]]:
    """Return one row per pair: whether it fits, and why not; `fits` is None for a pair that was not built yet."""
    return [_make_row(attn, name) for attn in _list_placed_mechanisms() for name in backbones.backbone_names()]


def _make_row(attn: str, backbone: str) -> dict[str, object]:
    reason = compatibility.find_misfit(attn, backbone)
    is_untried = reason is None and not compatibility.is_tried(attn, backbone)
    return {
        "attn": attn,
        "backbone": backbone,
        "fits": None if is_untried else reason is None,
        "reason": UNTRIED_REASON if is_untried else reason,
    }


def render_compatibility(width: int) -> str:
    """Return the table, what its signs and letters mean, and each reason; no line is wider than `width`."""
    names = backbones.backbone_names()
    families = [list(group) for _, group in groupby(names, backbones.find_family)]
    letters = dict(zip(names, LETTERS, strict=False))
    label_width = max(map(len, _list_placed_mechanisms())) + 1
    lines = []
    for part in _split_families(families, width - label_width):
        lines.append(" " * label_width + _group_signs(part, letters))
        for attn in _list_placed_mechanisms():
            signs = {name: _choose_sign(attn, name) for name in names}
            lines.append(f"{attn:{label_width}}" + _group_signs(part, signs))
        lines.append("")
    lines += [*_arrange_columns([f"{letter} {name}" for name, letter in letters.items()], width), ""]
    whole_networks = [n for n in attention.mechanism_names() if n not in _list_placed_mechanisms()]
    legend = (
        f"{FITS} fits where its paper puts it, {LACKS} the network has no such site, {REFUSED} its numbers do not suit "
        f"(model.options, model.stages or model.site may help). At {compatibility.IMAGENET_PIXELS} px; "
        f"CIFAR's networks at {compatibility.CIFAR_PIXELS}.",
        f"{UNTRIED} {UNTRIED_REASON}." if any(row["fits"] is None for row in list_compatibility_rows()) else "",
        f"Whole networks without a backbone: {', '.join(whole_networks)}.",
        f"Squeeze-and-excitation is built into {_find_letters_with_se(letters)}: "
        "model.replace=se puts another in its place.",
    )
    lines += [line for part in legend if part for line in fill_text(part, width).splitlines()]
    return "\n".join([*lines, "", *_list_reasons(letters, width)])


def _list_placed_mechanisms() -> list[str]:
    """Return the mechanisms that have a place in a backbone."""
    return [name for name in attention.mechanism_names() if not attention.is_whole_network(name)]


def _choose_sign(attn: str, backbone: str) -> str:
    reason = compatibility.find_misfit(attn, backbone)
    if reason is None:
        return FITS if compatibility.is_tried(attn, backbone) else UNTRIED
    return LACKS if reason.startswith("no site") else REFUSED


def _group_signs(families: list[list[str]], signs: dict[str, str]) -> str:
    return " ".join("".join(signs[name] for name in family) for family in families)


def _split_families(families: list[list[str]], width: int) -> list[list[list[str]]]:
    """Return the families in parts whose signs fit a line of `width` characters each."""
    parts: list[list[list[str]]] = [[]]
    for family in families:
        if parts[-1] and sum(map(len, parts[-1])) + len(parts[-1]) + len(family) > width:
            parts.append([])
        parts[-1].append(family)
    return parts


def _find_letters_with_se(letters: dict[str, str]) -> str:
    return "".join(
        letters[name] for name, fit in compatibility.load_compatibility().items() if "built-in se" in fit.sites
    )


def _list_reasons(letters: dict[str, str], width: int) -> list[str]:
    """Return one paragraph per mechanism: its reasons, each with the letters of the backbones."""
    lines = []
    for attn in _list_placed_mechanisms():
        kinds: dict[str, list[str]] = {}
        for name in letters:
            if why := compatibility.find_misfit(attn, name):
                kinds.setdefault(why.partition(": ")[2] or why, []).append(letters[name])
        reasons = "; ".join(f"{''.join(refusing_letters)} {why}" for why, refusing_letters in kinds.items())
        if reasons:
            lines += fill_text(f"{attn}: {reasons}", width, later="  ").splitlines()
    return lines


def _arrange_columns(words: Sequence[str], width: int) -> list[str]:
    """Return the words in as many columns as fit."""
    column_width = max(map(len, words)) + 2
    count = max(width // column_width, 1)
    line_count = -(-len(words) // count)
    return ["".join(f"{word:{column_width}}" for word in words[i::line_count]).rstrip() for i in range(line_count)]
