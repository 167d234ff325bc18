"""`attncli completion`: the script by which a shell completes attncli's words."""

import os

import click

from attncli.commands import COMPLETE

SETUP_LINES = {
    "bash": 'eval "$(attncli completion bash)"          # in ~/.bashrc; bash 4.4 or later',
    "zsh": 'eval "$(attncli completion zsh)"           # in ~/.zshrc, after compinit',
    "fish": "attncli completion fish | source           # in ~/.config/fish/config.fish",
}


@click.command()
@click.argument("shell", type=click.Choice(sorted(SETUP_LINES)))
def command(shell: str) -> None:
    """Print what makes a shell complete commands, options, mechanisms, backbones, datasets, recipes and runs.

    \b
    Example:
      eval "$(attncli completion bash)"
      eval "$(attncli completion zsh)"
      attncli completion fish | source
    """
    from click.shell_completion import get_completion_class

    completer_class = get_completion_class(shell)
    assert completer_class is not None  # click has all three
    completer = completer_class(click.Command("attncli"), {}, "attncli", COMPLETE)
    click.echo(completer.source_template % completer.source_vars())
    if os.isatty(1):
        click.echo(f"to use it: {SETUP_LINES[shell]}", err=True)
