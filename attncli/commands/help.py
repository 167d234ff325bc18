"""`attncli help`: read about a topic: concepts, claims, data, sweeps and others."""

import re
import sys
from collections.abc import Iterable, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import click

from attncli.commands._completion import make_completer
from attncli.commands._output import wrap_with_label
from attncli.errors import unknown_name_error

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions
    from rich.table import Table

FOLDER = Path(__file__).parents[1] / "help"
TOPIC_ORDER = (
    "start", "concepts", "statistics", "claims", "evidence", "data", "mechanisms", "backbones", "sweeps", "devices",
    "distributed", "mlflow", "tracking-server", "attention-figures", "trained-networks", "python-api", "benchmarks",
    "contributing", "troubleshooting", "changelog",
)  # fmt: skip
STYLES = {  # readable on black and on white, as cyan and yellow are not
    "code": "bold", "table.header": "bold", "table.border": "dim", "item.number": "bold", "list": "none",
    "link": "underline", "link_url": "underline",
}  # fmt: skip
MAX_WIDTH = 100  # columns; longer lines are hard to read


def list_topics() -> list[str]:
    """Return the topics that have a file, in the order in which a reader needs them."""
    names = {path.stem for path in FOLDER.glob("*.md")}
    return [name for name in TOPIC_ORDER if name in names] + sorted(names - set(TOPIC_ORDER))


def _complete_topic(ctx: click.Context) -> Iterable[str]:
    return list_topics()


@click.command()
@click.argument("topic", required=False, shell_complete=make_completer(_complete_topic))
def command(topic: str | None) -> None:
    """Print what there is to know about a TOPIC; without one, list the topics.

    On a terminal the text is shown page by page, elsewhere it is plain text. If TOPIC is a command, its options are
    printed.

    More in `attncli help start`.

    \b
    Example:
      attncli help
      attncli help claims
      attncli help sweeps > sweeps.txt
    """
    if topic is None:
        for name in list_topics():
            click.echo(wrap_with_label(f"{name:18} ", _read_title(name)))
        return click.echo("\n`attncli help TOPIC` prints one of them", err=True)
    if topic not in list_topics():
        return click.echo(_read_command_help(topic))
    text = (FOLDER / f"{topic}.md").read_text(encoding="utf-8")
    is_terminal = sys.stdout.isatty()
    page = render_topic(text, is_terminal)
    if is_terminal:
        return click.echo_via_pager(page)
    return click.echo(page, nl=False)


def _read_title(topic: str) -> str:
    """Return the title of a topic, the first line of its text, without the topic's name before a colon."""
    with (FOLDER / f"{topic}.md").open(encoding="utf-8") as file:
        title = file.readline().strip("# \n")
    title = title.partition(": ")[2] or title
    return title[:1].upper() + title[1:]


def _read_command_help(name: str) -> str:
    """Return the help of the command of this name. Raises UserError if there is neither a topic nor a command."""
    from attncli.commands import cli

    root = click.Context(cli, info_name="attncli")
    command = cli.get_command(root, name) if name in cli.list_commands(root) else None
    if command is None:
        raise unknown_name_error("topic", name, (*list_topics(), *cli.list_commands(root)))
    return command.get_help(click.Context(command, info_name=name, parent=root))


def render_topic(text: str, is_terminal: bool) -> str:
    """Return Markdown as text for a terminal, with colours if it is one; only code is wider than MAX_WIDTH columns."""
    from rich.console import Console, ConsoleOptions, RenderResult
    from rich.markdown import CodeBlock, Markdown, TableElement
    from rich.table import Table
    from rich.text import Text
    from rich.theme import Theme

    class UnwrappedCode(CodeBlock):
        """Code whose lines stay whole however narrow the terminal is, so that they can be copied."""

        def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
            indented = "\n".join(f" {line}" for line in str(self.text).rstrip().splitlines())
            yield Text(f"\n{indented}\n", no_wrap=True, overflow="ignore")

    class WholeNameTable(TableElement):
        """A table that wraps texts, so that names and numbers stay whole."""

        def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
            for table in super().__rich_console__(console, options):
                if isinstance(table, Table):
                    _fix_widths(table, console, options)
                yield table

    class Topic(Markdown):
        """Markdown with such code and tables."""

        elements: ClassVar = {
            **Markdown.elements,
            "fence": UnwrappedCode,
            "code_block": UnwrappedCode,
            "table_open": WholeNameTable,
        }

    theme = Theme({f"markdown.{element}": style for element, style in STYLES.items()})
    console = Console(force_terminal=is_terminal, color_system="auto" if is_terminal else None, theme=theme)
    console.width = min(console.width, MAX_WIDTH)
    with console.capture() as capture:
        console.print(Topic(_remove_addresses_in_tables(text), hyperlinks=False), crop=False)
    return "\n".join(line.rstrip() for line in capture.get().splitlines()) + "\n"


def _remove_addresses_in_tables(text: str) -> str:
    """Return Markdown without the targets of the links in its tables, for which a terminal has no room."""
    return re.sub(r"^\|.*$", lambda row: re.sub(r"\[([^\]|]+)\]\([^)|]*\)", r"\1", row[0]), text, flags=re.MULTILINE)


def _fix_widths(table: "Table", console: "Console", options: "ConsoleOptions") -> None:
    """Fix the widths of a table's columns so that names and numbers stay whole and texts are wrapped."""
    from rich.measure import Measurement

    sizes = [
        [Measurement.get(console, options, text) for text in (column.header, *column.cells)] for column in table.columns
    ]
    longest_words = [max(size.minimum for size in column) for column in sizes]
    longest_texts = [max(size.maximum for size in column) for column in sizes]
    gaps = 2 * len(sizes)
    if sum(longest_words) + gaps > options.max_width:
        table.padding = (0, 0)
        gaps = len(sizes) + 1
    widths = fit_widths(longest_words, longest_texts, options.max_width - gaps)
    for column, width in zip(table.columns, widths, strict=True):
        column.width, column.overflow = width, "fold"


def fit_widths(longest_words: Sequence[int], longest_texts: Sequence[int], room: int) -> list[int]:
    """Return widths of columns that fit into `room`: the widest are narrowed first, below their words last of all."""
    wrapped = (
        [min(text, max(word, level)) for word, text in zip(longest_words, longest_texts, strict=True)]
        for level in range(max(longest_texts), 0, -1)
    )
    cut = ([min(word, level) for word in longest_words] for level in range(max(longest_words), 0, -1))
    return next((widths for widths in chain(wrapped, cut) if sum(widths) <= room), list(longest_words))
