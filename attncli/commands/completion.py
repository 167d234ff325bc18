"""`attncli completion`: print the script by which a shell completes attncli's words."""

import os

import click

COMPLETE_VARIABLE = "_ATTNCLI_COMPLETE"  # set while a shell asks for words
SETUP_LINES = {
    "bash": 'eval "$(attncli completion bash)"          # in ~/.bashrc; bash 4.4 or later',
    "zsh": 'eval "$(attncli completion zsh)"           # in ~/.zshrc, after compinit',
    "fish": "attncli completion fish | source           # in ~/.config/fish/config.fish",
}


@click.command()
@click.argument("shell", type=click.Choice(sorted(SETUP_LINES)))
def command(shell: str) -> None:
    """Print the script that lets a shell complete commands, options and names.

    Names are those of mechanisms, backbones, datasets, recipes, sweeps, runs, claims and help topics.

    More in `attncli help start`.

    \b
    Example:
      eval "$(attncli completion bash)"
      eval "$(attncli completion zsh)"
      attncli completion fish | source
    """
    from click.shell_completion import get_completion_class

    completer_class = get_completion_class(shell)
    assert completer_class is not None  # click has all three
    completer = completer_class(click.Command("attncli"), {}, "attncli", COMPLETE_VARIABLE)
    click.echo(completer.source_template % completer.source_vars())
    if os.isatty(1):
        click.echo(f"to use it: {SETUP_LINES[shell]}", err=True)
