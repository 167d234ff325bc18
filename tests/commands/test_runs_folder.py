"""The folder of runs that a command is given: those that only read refuse one that is not there, and make nothing."""

import shlex
from pathlib import Path

import pytest

from attncli.commands.bench import start
from tests.claims.case import run
from tests.commands.line import line, refused
from tests.test_result_files import write_file

READING = (
    "compare", "compare --json", "report", "claims", "ls", "ls runs", "published --attn eca", "look eca-resnet18-s0",
    "eval all", "predict eca-resnet18-s0 .", "export eca-resnet18-s0", "rm eca-resnet18-s0", "ui --check", "sync",
    "results export mine.results",
)  # fmt: skip


@pytest.mark.parametrize("words", READING)
def test_a_typed_folder_of_runs_that_is_not_there(words: str) -> None:
    """It is named with the most similar folder beside it, before anything is read, and nothing is made."""
    (Path("my runs") / "survey").mkdir(parents=True)
    refused(line(*words.split(), "--runs", "my runs/survay"), "my runs/survay: no such folder", "'my runs/survey'")
    refused(line(*words.split(), "--runs", "elsewhere/survey"), "elsewhere/survey: no such folder", "attncli run")
    assert sorted(map(str, Path().rglob("*"))) == ["my runs", "my runs/survey"]


@pytest.mark.parametrize(
    "words", ["compare --runs=", "run --runs=", "check --dataset=folder --data-root= --image-size=8"]
)
def test_an_empty_path_is_not_the_current_folder(words: str) -> None:
    """As a variable of the shell leaves it that is not set."""
    refused(line(*words.split()), "the path is empty")
    assert not list(Path().iterdir())


def test_the_hint_can_be_typed() -> None:
    """The folder of the hint is quoted for a shell, as it may hold spaces."""
    (Path("my runs") / "survey").mkdir(parents=True)
    hint = line("ls", "runs", "--runs", "my runs/survay").err.splitlines()[1]
    assert shlex.split(hint.removeprefix("  hint: did you mean ").removesuffix("?")) == ["--runs", "my runs/survey"]


@pytest.mark.parametrize("words", ["ls", "ls runs", "compare", "compare --json", "sync"])
@pytest.mark.parametrize("folder", [None, "later"])
def test_the_usual_folder_of_runs_before_the_first_run(
    words: str, folder: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without runs yet, whether the folder is the default or that of the environment, a list is empty and no error."""
    if folder:
        monkeypatch.setenv("ATTNCLI_RUNS", folder)
    assert line(*words.split()).code == 0
    assert not list(Path().rglob("recipe.yaml"))


@pytest.mark.parametrize("words", ["sweep --attn eca --dry-run", "check", "doctor"])
def test_a_new_folder_for_what_is_to_run(words: str) -> None:
    """A folder that a run will make need not be there."""
    assert line(*words.split(), "--runs", "new").code in (0, 1)
    assert not Path("new").exists()


def test_results_of_others_alone(tmp_path: Path) -> None:
    """`--alone` leaves out the runs of the folder, and needs results to be left."""
    run(tmp_path / "theirs", attn="eca", seed=0, top1=0.9)
    file = str(write_file(tmp_path / "theirs", tmp_path / "theirs.results"))
    run(tmp_path / "runs", attn="eca", seed=1, top1=0.8)
    assert [row["n"] for row in line("compare", "--with", file, "--json").json()] == [2]
    assert [row["n"] for row in line("compare", "--with", file, "--alone", "--json").json()] == [1]
    for command in ("compare", "claims", "report"):
        refused(line(command, "--alone"), "--alone: no results are named", "--shipped NAME")


@pytest.mark.parametrize(("variable", "folder"), [("", "runs"), ("elsewhere", "elsewhere")])
def test_benches_are_kept_in_the_folder_of_runs(monkeypatch: pytest.MonkeyPatch, variable: str, folder: str) -> None:
    """That of ATTNCLI_RUNS, as for the other commands; --history names another file."""
    monkeypatch.setenv("ATTNCLI_RUNS", variable)
    assert start.command.make_context("start", []).params["history"] == Path(folder) / "bench.jsonl"
    assert start.command.make_context("start", ["--history", "mine.jsonl"]).params["history"] == Path("mine.jsonl")
