"""The command line: one file a command, found by file name, imported when it is asked for."""

import importlib
import os
from pathlib import Path

import click

from attncli import __version__

COMPLETE = "_ATTNCLI_COMPLETE"  # is set while a shell asks for words


class _CommandGroup(click.Group):
    """The commands of this folder; a file `ls.py` holds the command `ls` as the name `command`."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names, in the order in which a user meets them."""
        names = {p.stem for p in Path(__file__).parent.glob("*.py") if not p.stem.startswith("_")}
        return [n for n in _ORDER if n in names] + sorted(names - set(_ORDER))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of a name, or None where there is no such file."""
        if cmd_name not in self.list_commands(ctx):
            return None
        command: click.Command = importlib.import_module(f"attncli.commands.{cmd_name}").command
        if COMPLETE in os.environ:
            from attncli.commands._completion import attach_completion

            attach_completion(command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Each command with what the first line of its file says, so that help need not import them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, _read_summary(name)) for name in self.list_commands(ctx)])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does, with the nearest name for an unknown one."""
        from attncli.errors import unknown_name_error

        if args and self.get_command(ctx, args[0]) is None and not args[0].startswith("-"):
            raise unknown_name_error("command", args[0], self.list_commands(ctx))
        return super().resolve_command(ctx, args)


def _read_summary(name: str) -> str:
    with Path(__file__).with_name(f"{name}.py").open(encoding="utf-8") as file:
        text = file.readline().partition(": ")[2].strip().strip('"')
    return text[:1].upper() + text[1:]


_ORDER = (
    "run", "measure", "compare", "look", "sweep", "claims", "published", "report", "ls", "show", "check", "data", "ui",
    "sync", "doctor", "bench",
)  # fmt: skip


@click.group(cls=_CommandGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="attncli")
def cli() -> None:
    """Fair, fast ablations of attention blocks for image classification.

    Train a backbone with an attention mechanism at its paper's site, measure what it costs against the same
    network without it, and compare the runs in MLflow.

    \b
    Example:
      attncli run --attn eca --backbone resnet18
      attncli compare
    """
