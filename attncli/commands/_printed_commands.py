"""Commands that the user is told to type: each with the folder of runs and the MLflow store of the command at hand."""

import re
import shlex
from collections.abc import Mapping

import click

from attncli.errors import UserError

_KEY = f"{__name__}.store_options"  # in the context's meta: the value of each option that says where runs are
_COMMAND = re.compile(r"`(attncli [^`]+)`")
_NAMES = {"runs": "--runs", "tracking_uri": "--tracking-uri"}  # by the name of the parameter


def remember_store_option(context: click.Context, parameter: str, value: object) -> None:
    """Keep the value of an option that says where runs are, for the commands that are printed."""
    context.meta.setdefault(_KEY, {})[parameter] = value


def complete_commands(text: str) -> str:
    """Return a text in which each command in backquotes works on the runs of the command at hand.

    It gets the `--runs` and `--tracking-uri` of the context, unless it has them, does without them, or no folder but
    the usual one was asked for. Outside of a command the text stays as it is.
    """
    context = click.get_current_context(silent=True)
    options = _read_store_options(context) if context and "`attncli " in text else {}
    if not context or not options:
        return text
    root = context.find_root().command
    return _COMMAND.sub(lambda match: f"`{_complete_command(match[1], root, options)}`", text)


def complete_error(error: UserError) -> None:
    """Complete the commands in the hint of an error, and of each that it collects."""
    for single_error in (error, *error.single_errors):
        single_error.hint = complete_commands(single_error.hint)


def _read_store_options(context: click.Context) -> dict[str, str]:
    """Return the options that lead another command to the same runs, as words for a shell, by the parameter's name."""
    from attncli.runs import RunStore, list_store_options

    kept = context.meta.get(_KEY)
    if not kept:
        return {}
    words = list_store_options(RunStore(kept["runs"], kept.get("tracking_uri")))
    options = dict(zip(words[::2], words[1::2], strict=True))
    return {name: shlex.join([option, options[option]]) for name, option in _NAMES.items() if option in options}


def _complete_command(text: str, root: click.Command, options: Mapping[str, str]) -> str:
    """Return a command with those of the options that it takes and has not."""
    command = _find_command(text.split()[1:], root)
    taken = {parameter.name for parameter in command.params} if command else set()
    missing = [words for name, words in options.items() if name in taken and f"{_NAMES[name]} " not in text]
    return " ".join([text, *missing])


def _find_command(words: list[str], root: click.Command) -> click.Command | None:
    """Return the command that the words after `attncli` call, or None if they name none."""
    command: click.Command | None = root
    while isinstance(command, click.Group):
        context = click.Context(command)
        is_named = bool(words) and words[0] in command.list_commands(context)
        name = words.pop(0) if is_named else getattr(command, "default", "")  # of a DefaultCommandFolder
        command = command.get_command(context, name) if name else None
    return command
