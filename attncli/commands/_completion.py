"""What a shell completes a word with: mechanisms, backbones, data sets, recipes, sweeps, runs; without torch.

Loaded only while a shell asks (`attncli completion` tells it how to). Parameters are told by their names.
"""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

MAX_RUNS = 200  # runs whose names are offered, the latest


def attach_completion(command: click.Command) -> click.Command:
    """Give the parameters of a command, and of those under it, what completes them."""
    for param in command.params:
        words = COMPLETIONS.get(param.name or "")
        if words is not None and not isinstance(param.type, click.Choice):
            param.type = _NameType(words)
    if isinstance(command, click.Group):
        for other in command.commands.values():
            attach_completion(other)
    return command


class _NameType(click.ParamType):  # type: ignore[type-arg]  # only later clicks give it one
    """A word, or words with commas, of those known now."""

    name = "name"

    def __init__(self, words: Callable[[click.Context], Iterable[str]]) -> None:
        self.words = words

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Those that begin as the word does, then files, as a file may be meant as well."""
        before, comma, last = incomplete.rpartition(",")
        items = [CompletionItem(before + comma + w) for w in self.words(ctx) if w.startswith(last)]
        return items or [CompletionItem(incomplete, type="file")]


def _complete_mechanisms(ctx: click.Context) -> Iterable[str]:
    from attncli import attention

    return (*attention.mechanism_names(), attention.NONE)


def _complete_backbones(ctx: click.Context) -> Iterable[str]:
    from attncli import backbones

    return backbones.backbone_names()


def _complete_datasets(ctx: click.Context) -> Iterable[str]:
    from attncli import data

    return data.DATASETS


def _complete_recipes(ctx: click.Context) -> Iterable[str]:
    return sorted(path.stem for path in Path("recipes").glob("*.yaml"))


def _complete_sweeps(ctx: click.Context) -> Iterable[str]:
    return sorted(path.stem for path in Path("recipes/sweeps").glob("*.yaml"))


def _complete_runs(ctx: click.Context) -> Iterable[str]:
    from itertools import islice

    from attncli.track.folders import list_run_folders

    runs_folder: Any = ctx.params.get("runs") or "runs"
    return dict.fromkeys(folder.name for folder in islice(list_run_folders(Path(runs_folder)), MAX_RUNS))


def _complete_names(ctx: click.Context) -> Iterable[str]:
    """What `show` explains, and `data` reads."""
    return (
        (*_complete_mechanisms(ctx), *_complete_backbones(ctx)) if ctx.info_name == "show" else _complete_datasets(ctx)
    )


def _complete_claims(ctx: click.Context) -> Iterable[str]:
    from attncli.claims.claim_files import load_claims

    return [claim.id for claim in load_claims()]


COMPLETIONS: dict[str, Callable[[click.Context], Iterable[str]]] = {
    "attn": _complete_mechanisms,
    "backbone": _complete_backbones,
    "dataset": _complete_datasets,
    "recipe": _complete_recipes,
    "sweep": _complete_sweeps,
    "run": _complete_runs,
    "name": _complete_names,
    "ids": _complete_claims,
}
