"""The command `attncli`, also as `python -m attncli`."""

import errno
import os
import re
import sys
from typing import TYPE_CHECKING

from attncli.errors import UserError, report_to_launcher
from attncli.system.fast_exit import exit_fast
from attncli.system.output_encoding import tolerate_unencodable_text
from attncli.system.signals import sigterm_as_interrupt
from attncli.system.terminal import fill_text, find_terminal_width

if TYPE_CHECKING:
    import click

# the system refuses a file or folder
PLACE_ERRNOS = {
    errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.ENAMETOOLONG, errno.EIO, errno.ESTALE,
}  # fmt: skip


def run_and_exit() -> None:
    """Run the command line and end the process."""
    if sys.platform == "darwin":  # torch reads it when it is loaded: what Apple GPUs lack runs on the CPU
        os.environ.setdefault("PYTORCH_ENABLE_MPS_FALLBACK", "1")
    try:
        main()
    except SystemExit as end:
        exit_fast(end.code if isinstance(end.code, int) else 0 if end.code is None else 1)


def main() -> None:
    """Run the command line. Exit codes: 0 success, 1 a failed run, 2 bad input, 3 a bug, 130 interrupted."""
    tolerate_unencodable_text()
    with sigterm_as_interrupt():
        sys.exit(run_command())


def run_command() -> int:
    """Run the command in sys.argv and return its exit code; errors are printed on stderr."""
    import click

    from attncli.commands import cli

    try:
        return cli.main(standalone_mode=False) or 0
    except UserError as error:
        return report_error(error)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message())
        return 0
    except click.ClickException as error:
        print_error(convert_click_error(error))
        return error.exit_code
    except (KeyboardInterrupt, click.Abort):
        if not report_to_launcher(make_interrupt_error()):
            print_lines("interrupted")
        return 130
    except SystemExit as end:
        from attncli.system.user_exit import make_exit_error

        if (exit_error := make_exit_error(end)) is None:
            raise
        return report_error(exit_error)
    except BrokenPipeError:
        sys.stderr.close()  # nobody reads any more, as with `| head`
        return 0
    except MemoryError as failure:
        return report_error(make_memory_error(failure))
    except Exception as failure:
        if isinstance(failure, OSError) and failure.errno in PLACE_ERRNOS:
            return report_place_error(failure)
        import traceback

        message = "This is a bug in attncli: please report it with the lines above."
        if not report_to_launcher(UserError(message, code=3), traceback.format_exc()):
            print_lines(f"{traceback.format_exc()}{message}")
        return 3


def report_error(error: UserError) -> int:
    """Hand an error to the launcher of this process, or else print it; return the exit code."""
    if not report_to_launcher(error):
        print_error(error)
    return error.code


def report_place_error(failure: OSError) -> int:
    """Say in which file or folder the system refuses to read or write, and why; return the exit code."""
    place = f"{os.fsdecode(failure.filename)}: " if isinstance(failure.filename, str | bytes) else ""
    hint = "give a file or folder that can be read and written, such as --runs or --out, or make room there"
    return report_error(UserError(f"{place}{failure.strerror}", hint))


def make_memory_error(failure: MemoryError) -> UserError:
    """Return the error of a process that Python or NumPy has no main memory for; a training tells of torch's."""
    problem = f"out of memory: {failure}" if str(failure) else "out of memory"
    return UserError(problem, "use a smaller data.image_size or train.batch_size, or fewer processes or jobs", code=1)


def make_interrupt_error() -> UserError:
    """Return the error of a process that was interrupted outside of training; its other ranks were interrupted too."""
    error = UserError("interrupted", code=130)
    error.on_all_ranks = True
    return error


def print_error(error: UserError) -> None:
    """Print an error on stderr: one line for the problem, one for what to do about it; no colour if NO_COLOR is set.

    On a terminal they are broken into lines that fit it, where nothing that can be copied is broken.
    """
    import click

    lines = []
    for single_error in error.single_errors:
        lines.append(
            click.style("Error", fg="red") + _label_text("Error: ", single_error.problem).removeprefix("Error")
        )
        if single_error.hint:
            lines.append(_label_text("  hint: ", single_error.hint))
    print_lines("\n".join(lines), color=False if os.environ.get("NO_COLOR") else None)


def _label_text(label: str, text: str) -> str:
    """Return a text after its label; on a terminal in lines that fit it, elsewhere in one."""
    return (
        fill_text(text, find_terminal_width(), first=label, later=" " * len(label))
        if sys.stderr.isatty()
        else label + text
    )


def print_lines(text: str, color: bool | None = None) -> None:
    """Print a text on stderr; of several processes of torchrun that print the same, the first one does."""
    import click

    from attncli.system.launcher import is_first_report

    if is_first_report(text):
        click.echo(text, err=True, color=color)


def convert_click_error(error: "click.ClickException") -> UserError:
    """Return click's error as a UserError."""
    import click

    context = getattr(error, "ctx", None)
    hint = f"`{context.command_path if context else 'attncli'} --help` lists what there is"
    if isinstance(error, click.NoSuchOption):
        from attncli.commands._words import suggest_option

        if suggestion := suggest_option(error):
            return UserError(f"unknown option: {error.option_name}", suggestion)
    if isinstance(error, click.BadParameter):
        from attncli.commands._words import suggest_choice

        hint = suggest_choice(error) or hint
    extra = re.fullmatch(r"Got unexpected extra arguments? \((.+)\)", error.message)
    if extra and context:
        from attncli.commands._words import suggest_option_of_name

        hint = suggest_option_of_name(extra[1], context.command) or hint
    return UserError(" ".join(error.format_message().split()).rstrip("."), hint)


if __name__ == "__main__":
    run_and_exit()
