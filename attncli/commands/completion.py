"""`attncli completion`: the script by which a shell completes attncli's words."""

import os

import click

from attncli.commands import COMPLETE

HOW = {
    "bash": 'eval "$(attncli completion bash)"          # in ~/.bashrc; bash 4.4 or later',
    "zsh": 'eval "$(attncli completion zsh)"           # in ~/.zshrc, after compinit',
    "fish": "attncli completion fish | source           # in ~/.config/fish/config.fish",
}


@click.command()
@click.argument("shell", type=click.Choice(sorted(HOW)))
def command(shell: str) -> None:
    """Print what makes a shell complete commands, options, mechanisms, backbones, datasets, recipes and runs.

    \b
    Example:
      eval "$(attncli completion bash)"
      eval "$(attncli completion zsh)"
      attncli completion fish | source
    """
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    assert kind is not None  # click has all three
    asking = kind(click.Command("attncli"), {}, "attncli", COMPLETE)
    click.echo(asking.source_template % asking.source_vars())
    if os.isatty(1):
        click.echo(f"to use it: {HOW[shell]}", err=True)
