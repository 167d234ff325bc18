"""What a shell completes a word with: give one of these to an option or argument as `shell_complete`.

The names are collected only when a shell asks for them, without torch.
"""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

MAX_RUNS = 200  # runs whose names are offered, the latest

Completer = Callable[[click.Context, click.Parameter, str], "list[CompletionItem]"]


def make_completer(list_names: Callable[[click.Context], Iterable[str]]) -> Completer:
    """Return what completes a name, or the last of several names separated by commas.

    If no name begins like the word, the shell completes file names.
    """

    def complete_names(ctx: click.Context, param: click.Parameter, incomplete: str) -> "list[CompletionItem]":
        from click.shell_completion import CompletionItem

        before, comma, last = incomplete.rpartition(",")
        items = [CompletionItem(before + comma + name) for name in list_names(ctx) if name.startswith(last)]
        return items or [CompletionItem(incomplete, type="file")]

    return complete_names


def _list_mechanisms(ctx: click.Context) -> Iterable[str]:
    from attncli import attention

    return (*attention.mechanism_names(), attention.NONE)


def _list_backbones(ctx: click.Context) -> Iterable[str]:
    from attncli import backbones

    return backbones.backbone_names()


def _list_datasets(ctx: click.Context) -> Iterable[str]:
    from attncli import data

    return data.DATASETS


def _list_recipes(ctx: click.Context) -> Iterable[str]:
    from attncli.recipe.library import list_recipe_files

    return list_recipe_files("recipe")


def _list_sweeps(ctx: click.Context) -> Iterable[str]:
    from attncli.recipe.library import list_recipe_files

    return list_recipe_files("sweep")


def _list_shipped_results(ctx: click.Context) -> Iterable[str]:
    from attncli.recipe.library import list_shipped_results

    return list_shipped_results()


def _list_runs(ctx: click.Context) -> Iterable[str]:
    from attncli.runs import list_run_folders

    runs = Path(ctx.params.get("runs") or "runs")
    return dict.fromkeys(folder.full_name for folder in list_run_folders(runs, MAX_RUNS))


def _list_claims(ctx: click.Context) -> Iterable[str]:
    from attncli.claims.claim_files import load_claims

    return [claim.id for claim in load_claims()]


def _list_recipe_keys(ctx: click.Context) -> Iterable[str]:
    from attncli.recipe.key_names import list_recipe_keys

    return list_recipe_keys()


def _list_claim_kinds(ctx: click.Context) -> Iterable[str]:
    from attncli.claims.claim_files import KINDS

    return KINDS


def _list_verdicts(ctx: click.Context) -> Iterable[str]:
    from attncli.claims.verdict import OUTCOMES

    return [name.replace(" ", "-") for name in OUTCOMES if "(" not in name]  # a shell would want quotes


complete_mechanisms = make_completer(_list_mechanisms)
complete_backbones = make_completer(_list_backbones)
complete_datasets = make_completer(_list_datasets)
complete_recipes = make_completer(_list_recipes)
complete_sweeps = make_completer(_list_sweeps)
complete_shipped_results = make_completer(_list_shipped_results)
complete_recipe_files = make_completer(lambda ctx: (*_list_recipes(ctx), *_list_sweeps(ctx)))
complete_runs = make_completer(_list_runs)
complete_claims = make_completer(_list_claims)
complete_claim_kinds = make_completer(_list_claim_kinds)
complete_verdicts = make_completer(_list_verdicts)
complete_recipe_keys = make_completer(_list_recipe_keys)
