"""What a shell completes a word with: mechanisms, backbones, data sets, recipes, sweeps, runs; without torch.

Loaded only while a shell asks (`attncli completion` tells it how to). Parameters are told by their names.
"""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

LATEST = 200  # runs whose names are offered, the latest


def attach(command: click.Command) -> click.Command:
    """Give the parameters of a command, and of those under it, what completes them."""
    for param in command.params:
        words = WORDS.get(param.name or "")
        if words is not None and not isinstance(param.type, click.Choice):
            param.type = _Named(words)
    if isinstance(command, click.Group):
        for other in command.commands.values():
            attach(other)
    return command


class _Named(click.ParamType):  # type: ignore[type-arg]  # only later clicks give it one
    """A word, or words with commas, of those known now."""

    name = "name"

    def __init__(self, words: Callable[[click.Context], Iterable[str]]) -> None:
        self.words = words

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Those that begin as the word does, then files, as a file may be meant as well."""
        before, comma, last = incomplete.rpartition(",")
        found = [CompletionItem(before + comma + w) for w in self.words(ctx) if w.startswith(last)]
        return found or [CompletionItem(incomplete, type="file")]


def _attn(ctx: click.Context) -> Iterable[str]:
    from attncli import attention

    return (*attention.names(), attention.NONE)


def _backbones(ctx: click.Context) -> Iterable[str]:
    from attncli import backbones

    return backbones.names()


def _datasets(ctx: click.Context) -> Iterable[str]:
    from attncli import data

    return data.NAMES


def _recipes(ctx: click.Context) -> Iterable[str]:
    return sorted(path.stem for path in Path("recipes").glob("*.yaml"))


def _sweeps(ctx: click.Context) -> Iterable[str]:
    return sorted(path.stem for path in Path("recipes/sweeps").glob("*.yaml"))


def _runs(ctx: click.Context) -> Iterable[str]:
    from itertools import islice

    from attncli.track.folders import folders

    given: Any = ctx.params.get("runs") or "runs"
    return dict.fromkeys(folder.name for folder in islice(folders(Path(given)), LATEST))


def _names(ctx: click.Context) -> Iterable[str]:
    """What `show` explains, and `data` reads."""
    return (*_attn(ctx), *_backbones(ctx)) if ctx.info_name == "show" else _datasets(ctx)


def _claims(ctx: click.Context) -> Iterable[str]:
    from attncli.survey.claims import claims

    return [claim.id for claim in claims()]


WORDS: dict[str, Callable[[click.Context], Iterable[str]]] = {
    "attn": _attn,
    "backbone": _backbones,
    "dataset": _datasets,
    "recipe": _recipes,
    "sweep": _sweeps,
    "run": _runs,
    "name": _names,
    "ids": _claims,
}
