"""Click groups that find their commands by file name and import a command only when it is called."""

import importlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from attncli.commands._printed_commands import complete_error
from attncli.commands._words import OTHER_COMMANDS, refuse_repeated_options, suggest_command_of_name

if TYPE_CHECKING:
    from attncli.errors import UserError


class CommandFolder(click.Group):
    """A group whose commands lie in a package: the file `ls.py` or the folder `ls/` has the click command `command`.

    Names that begin with an underscore are helpers and no commands.
    """

    def __init__(self, name: str | None = None, *, package: str, order: Sequence[str] = (), **settings: Any) -> None:
        super().__init__(name, **settings)
        self.package = package
        self.folder = Path(sys.modules[package].__path__[0])
        self.order = order

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names, those of `order` first."""
        names = {
            path.stem
            for path in self.folder.iterdir()
            if not path.name.startswith("_") and (path.suffix == ".py" or (path / "__init__.py").exists())
        }
        return [name for name in self.order if name in names] + sorted(names - set(self.order))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return the command with this name, or None if there is no such file."""
        if cmd_name not in self.list_commands(ctx):
            return None
        command: click.Command = importlib.import_module(f"{self.package}.{cmd_name}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write each command with the summary from its file's first line, so that help imports no command."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, self._read_summary(name)) for name in self.list_commands(ctx)])

    def _read_summary(self, name: str) -> str:
        """Return what follows the colon in the first line of a command's file."""
        path = self.folder / f"{name}.py"
        with (path if path.exists() else self.folder / name / "__init__.py").open(encoding="utf-8") as file:
            text = file.readline().partition(": ")[2].strip().strip('"')
        return text[:1].upper() + text[1:]

    def invoke(self, ctx: click.Context) -> Any:
        """Invoke as click does; the commands in the hint of an error work on the runs of the command that failed."""
        from attncli.errors import UserError

        try:
            return super().invoke(ctx)
        except UserError as error:
            complete_error(error)
            raise

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Resolve as click does. Raises UserError with the nearest name for an unknown command."""
        if args and self.get_command(ctx, args[0]) is None and not args[0].startswith("-"):
            raise self._make_unknown_error(args[0], is_root=ctx.parent is None)
        name, command, words = super().resolve_command(ctx, args)
        if command is not None:
            refuse_repeated_options(command, words)
        return name, command, words

    def _make_unknown_error(self, word: str, *, is_root: bool) -> "UserError":
        """Return the error for an unknown command; at the root, names of mechanisms and others lead to a command."""
        from attncli.errors import UserError, suggest_name

        known = self.list_commands(click.Context(self))
        aliases = {other: f"'{name}'" for other, name in OTHER_COMMANDS.items() if name in known}
        hint = suggest_name(word, known, aliases)
        if is_root and word not in aliases:
            hint = suggest_command_of_name(word, is_near_command=hint.startswith("did you mean")) or hint
        return UserError(f"unknown command: '{word}'", hint)


class DefaultCommandFolder(CommandFolder):
    """A group that runs its `default` command unless the first word names another one."""

    def __init__(self, name: str | None = None, *, default: str, **settings: Any) -> None:
        super().__init__(name, **settings)
        self.default = default

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        """Return the context of this group, or of the default command if no command is named."""
        context = click.Context(self, info_name=info_name)
        if args and args[0] in self.list_commands(context):
            return super().make_context(info_name, args, parent, **extra)
        default = self.get_command(context, self.default)
        assert default is not None
        refuse_repeated_options(default, args)
        return default.make_context(info_name, args, parent, **extra)
