"""The command `attncli`, also as `python -m attncli`."""

import sys
import traceback

from attncli.errors import UserError


def main() -> None:
    """Run the command line. Exit codes: 0 done, 1 a failed run, 2 bad input, 3 a bug, 130 interrupted."""
    import click

    from attncli.commands import cli

    try:
        sys.exit(cli.main(standalone_mode=False) or 0)
    except UserError as error:
        for part in error.parts:
            click.echo(f"{click.style('Error', fg='red')}: {part.problem}", err=True)
            if part.hint:
                click.echo(f"  hint: {part.hint}", err=True)
        sys.exit(error.code)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message())
        sys.exit(0)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (KeyboardInterrupt, click.Abort):
        click.echo("interrupted", err=True)
        sys.exit(130)
    except BrokenPipeError:
        sys.stderr.close()  # the reader has left, as `| head` does: nobody is there to tell
        sys.exit(0)
    except Exception:
        traceback.print_exc()
        click.echo("This is a bug in attncli: please report it with the lines above.", err=True)
        sys.exit(3)


if __name__ == "__main__":
    main()
