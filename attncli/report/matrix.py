"""Which mechanism fits which backbone, as a table of signs for people and as rows for programs."""

import string
import textwrap
from collections.abc import Sequence
from itertools import groupby

from attncli import attention, backbones
from attncli.backbones import fits

LETTERS = string.ascii_lowercase + string.ascii_uppercase
FITS, LACKS, REFUSED = "+", ".", "x"


def rows() -> list[dict[str, object]]:
    """A row a pair: whether it fits, and why not."""
    return [
        {"attn": attn, "backbone": name, "fits": why is None, "reason": why}
        for attn in _placed()
        for name in backbones.names()
        for why in (fits.reason(attn, name),)
    ]


def text(width: int) -> str:
    """The table, what its signs and letters mean, and why what does not fit does not; no line wider than `width`."""
    names = backbones.names()
    families = [list(group) for _, group in groupby(names, backbones.family)]
    letters = dict(zip(names, LETTERS, strict=False))
    room = max(map(len, _placed())) + 1
    lines = [" " * room + _grouped(families, letters)]
    lines += [f"{attn:{room}}" + _grouped(families, {n: _sign(attn, n) for n in names}) for attn in _placed()]
    lines += ["", *_columns([f"{letter} {name}" for name, letter in letters.items()], width), ""]
    whole = [n for n in attention.names() if n not in _placed()]
    told = (
        f"{FITS} fits where its paper puts it, {LACKS} the network has no such site, {REFUSED} its numbers do not suit "
        f"(model.options, model.stages or model.site may help). At {fits.LARGE} px; CIFAR's networks at {fits.SMALL}.",
        f"Whole networks without a backbone: {', '.join(whole)}.",
        f"Squeeze-and-excitation is built into {_built_in(letters)}: model.replace=se puts another in its place.",
    )
    lines += [line for part in told for line in textwrap.wrap(part, width)]
    return "\n".join([*lines, "", *_reasons(letters, width)])


def _placed() -> list[str]:
    """The mechanisms that have a place in a backbone."""
    return [n for n in attention.names() if attention.describe(n).card.site != "model"]


def _sign(attn: str, backbone: str) -> str:
    why = fits.reason(attn, backbone)
    return FITS if why is None else LACKS if why.startswith("no site") else REFUSED


def _grouped(families: list[list[str]], signs: dict[str, str]) -> str:
    return " ".join("".join(signs[name] for name in family) for family in families)


def _built_in(letters: dict[str, str]) -> str:
    return "".join(letters[name] for name, found in fits.found().items() if "built-in se" in found.sites)


def _reasons(letters: dict[str, str], width: int) -> list[str]:
    """A paragraph a mechanism: its first reason and where each kind holds."""
    lines = []
    for attn in _placed():
        kinds: dict[str, list[str]] = {}
        for name in letters:
            if why := fits.reason(attn, name):
                kinds.setdefault(why.partition(": ")[2] or why, []).append(letters[name])
        told = "; ".join(f"{''.join(where)} {why}" for why, where in kinds.items())
        if told:
            lines += textwrap.wrap(f"{attn}: {told}", width, subsequent_indent="  ")
    return lines


def _columns(words: Sequence[str], width: int) -> list[str]:
    """Words in columns, as many as fit."""
    room = max(map(len, words)) + 2
    count = max(width // room, 1)
    rows_ = -(-len(words) // count)
    return ["".join(f"{word:{room}}" for word in words[i::rows_]).rstrip() for i in range(rows_)]
