"""Commands that the user is told to type work on the runs of the command that prints them."""

import re
import shlex
from pathlib import Path

import click
import pytest

from attncli.commands import cli
from attncli.commands._printed_commands import complete_commands, remember_store_option
from attncli.jobs import SweepPlan
from attncli.records import RESULT
from attncli.report.sweep_summary import build_compare_command
from attncli.runs import RunStore, list_store_options
from tests.claims.case import run
from tests.commands.line import line

SERVER = "http://head:5000"


def complete(text: str, runs: str = "my runs", uri: str | None = SERVER) -> str:
    """The text as a command prints it to which this folder and this store were given."""
    with click.Context(cli) as context:
        remember_store_option(context, "runs", Path(runs))
        remember_store_option(context, "tracking_uri", uri)
        return complete_commands(text)


@pytest.mark.parametrize(
    ("command", "options"),
    [
        ("attncli sync", f"--runs 'my runs' --tracking-uri {SERVER}"),
        ("attncli ls runs", f"--runs 'my runs' --tracking-uri {SERVER}"),
        ("attncli claims ID -v", f"--runs 'my runs' --tracking-uri {SERVER}"),
        ("attncli claims run ID", f"--runs 'my runs' --tracking-uri {SERVER}"),
        ("attncli results export mine.results", "--runs 'my runs'"),
        ("attncli sync --runs elsewhere", f"--tracking-uri {SERVER}"),
        ("attncli help data", ""),
        ("attncli show NAME", ""),
        ("attncli nothing", ""),
        ("attncli results", ""),
    ],
)
def test_a_command_gets_the_options_that_it_takes(command: str, options: str) -> None:
    """Those that say where runs are, quoted for a shell; without them nothing changes, nor outside of backquotes."""
    assert complete(f"say `{command}`; attncli sync") == f"say `{f'{command} {options}'.strip()}`; attncli sync"
    assert complete(f"say `{command}`", "runs", None) == f"say `{command}`"
    assert complete_commands(f"say `{command}`") == f"say `{command}`"


def test_no_password_is_printed() -> None:
    """That of a database's address stays out of what is told, which may end in a log."""
    assert complete("`attncli sync`", "runs", "postgresql://me:secret@head/db") == (
        "`attncli sync --tracking-uri postgresql://head/db`"
    )


def test_the_usual_folder_is_that_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """A command typed next reads ATTNCLI_RUNS: only another folder has to be named."""
    monkeypatch.setenv("ATTNCLI_RUNS", "/shared/runs")
    assert list_store_options(RunStore(Path("/shared/runs"))) == []
    assert list_store_options(RunStore(Path("runs"))) == ["--runs", "runs"]


def test_the_end_of_a_sweep_names_the_store() -> None:
    """The table of runs on a server is made of that server's runs."""
    command = build_compare_command(SweepPlan("s", ()), RunStore(Path("runs"), SERVER))
    assert command.endswith(f"--tracking-uri {SERVER}")


@pytest.mark.parametrize(
    "words", ["look nothing", "export eca-resnet20-s0", "compare", "claims c0", "eval all", "rm ''"]
)
def test_every_command_names_the_folder_it_was_given(words: str, tmp_path: Path) -> None:
    """In its results, notes and errors: no command is printed that would read another folder."""
    (Path("my runs")).mkdir()
    claims = tmp_path / "c.yaml"
    claims.write_text("[{id: c0, kind: accuracy, text: t, source: s, check: top1(resnet20) > 1 %, on: cifar10}]")
    more = ["--file", str(claims)] if words.startswith("claims") else []
    done = line(*shlex.split(words), *more, "--runs", "my runs")
    printed = re.findall(r"`(attncli [^`]*)`|(attncli claims run .*)", " ".join((done.out + done.err).split("\n")))
    assert printed
    assert [found for found in printed if "--runs 'my runs'" not in "".join(found)] == []


def test_stopped_runs_are_named_with_the_command_that_resumes_them() -> None:
    """Where no run is finished, `compare`, `eval all` and `results export` say how many there are and what to do."""
    for seed in (0, 1):
        recipe = run(Path("runs"), attn="eca", seed=seed, top1=0.9)
        (Path("runs") / recipe.compute_digest() / RESULT).unlink()
    for words in ("compare", "eval all", "results export a.results"):
        done = line(*words.split())
        told = done.out + done.err
        assert "2 runs (2 stopped)" in told
        (file,) = re.findall(r"`attncli run (\S+)` resumes", told)
        assert Path(file).is_file()


@pytest.mark.parametrize("words", ["report --no-track --attn eca", "compare --shipped cifar10-resnet20 --alone --plot"])
def test_what_only_reads_makes_no_folder_of_runs(words: str) -> None:
    """Without one its files lie in the current folder."""
    assert line(*words.split()).code == 0
    assert not Path("runs").exists()
    assert [path.suffix for path in Path().iterdir() if path.suffix in (".html", ".png")]
