"""Runs are deleted, after asking, and only those that were named; lists of runs come without MLflow."""

import subprocess
import sys
from pathlib import Path

import pytest

from attncli.runs import RunStore, read_folder_runs
from tests.claims.case import run
from tests.commands.line import line, refused
from tests.commands.test_light import modules


def test_a_named_run_is_deleted() -> None:
    """The other one stays; an unknown name deletes nothing."""
    for attn in ("eca", "none"):
        run(Path("runs"), attn=attn, seed=0, top1=0.9)
    refused(line("rm", "ecca-resnet20-s0", "--yes"), "'eca-resnet20-s0'")
    assert line("rm", "eca-resnet20-s0", "--yes").code == 0
    assert [r.result.attn for r in read_folder_runs(Path("runs"))] == ["none"]


def test_without_an_answer_nothing_is_deleted(monkeypatch) -> None:
    """No is no."""
    run(Path("runs"), attn="eca", seed=0, top1=0.9)
    monkeypatch.setattr("click.confirm", lambda *_, **__: False)
    assert line("rm", "eca-resnet20-s0").code == 0
    assert len(list(read_folder_runs(Path("runs")))) == 1


def test_the_end_of_standard_input_is_no_answer() -> None:
    """In a script, where nobody answers, one line names the option; a piped answer counts."""
    run(Path("runs"), attn="eca", seed=0, top1=0.9)
    command = [sys.executable, "-m", "attncli", "rm", "eca-resnet20-s0"]
    done = subprocess.run(command, input="", capture_output=True, text=True)
    assert done.returncode == 2
    assert "nothing is deleted" in done.stderr
    assert "--yes" in done.stderr
    assert len(list(read_folder_runs(Path("runs")))) == 1
    assert subprocess.run(command, input="y\n", capture_output=True, text=True).returncode == 0
    assert list(read_folder_runs(Path("runs"))) == []


def test_the_list_of_runs_needs_no_mlflow(tmp_path: Path) -> None:
    """Name, accuracy in percent and the folder's name of one's own images."""
    run(Path("runs"), attn="eca", seed=0, top1=0.9123, data__name="folder", data__root="/images/mini")
    (row,) = line("ls", "runs", "--json").json()
    assert (row["name"], row["images"], row["test_top1"]) == ("eca-resnet20-s0", "mini", 0.9123)
    assert "91.23" in line("ls", "runs").out
    assert not modules("ls", "runs") & {"mlflow", "torch"}


def test_a_link_to_a_run_is_removed_alone() -> None:
    """What it leads to stays."""
    recipe = run(Path("elsewhere"), attn="eca", seed=0, top1=0.9)
    Path("runs").mkdir()
    link = Path("runs") / recipe.compute_digest()
    link.symlink_to(Path("elsewhere").absolute() / link.name)
    assert line("rm", str(link), "--yes").code == 0
    assert not link.is_symlink()
    assert len(list(read_folder_runs(Path("elsewhere")))) == 1


@pytest.mark.parametrize("inside", [False, True], ids=["by its path", "from within"])
def test_a_run_that_is_named_by_its_path_is_deleted_in_the_store_beside_it(
    inside: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the store of the default folder it deleted the run that is kept there, or nothing: `.` has no name."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    recipes = [run(Path(runs), attn="eca", seed=0, top1=0.9) for runs in ("runs", "other")]
    digest = recipes[0].compute_digest()
    asked: list[tuple[str, str]] = []

    def delete_runs(name: str, *, run_store: RunStore) -> int:
        asked.append((name, run_store.resolve_address()))
        return 1

    monkeypatch.setattr("attncli.track.delete_runs", delete_runs)
    if inside:
        monkeypatch.chdir(tmp_path / "other" / digest)
    assert line("rm", "." if inside else f"other/{digest}", "--yes").code == 0
    assert asked == [(digest, RunStore(tmp_path / "other").resolve_address())]
    assert [(tmp_path / runs / digest).exists() for runs in ("runs", "other")] == [True, False]
