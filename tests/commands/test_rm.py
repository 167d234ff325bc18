"""Runs are deleted, after asking, and only those that were named; lists of runs come without MLflow."""

import os
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from filelock import FileLock

from attncli.runs import RunStore, read_folder_runs
from attncli.track.provenance import begin_provenance, write_provenance
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


def begin_run(host: str, age_s: float) -> Path:
    """The folder of a run of this process that says that it is on a host, and recorded something so long ago."""
    recipe = run(Path("runs"), attn="eca", seed=0, top1=0.9)
    folder = Path("runs") / recipe.compute_digest()
    begun = begin_provenance(folder, recipe, None, {})
    write_provenance(folder, replace(begun, process=replace(begun.process, host=host)))
    (folder / "log.jsonl").touch()
    for name in ("origin.json", "log.jsonl"):
        os.utime(folder / name, (time.time() - age_s,) * 2)
    return folder


def test_a_killed_run_of_another_host_is_deleted_if_the_user_says_so() -> None:
    """Its process cannot be seen from here: it must be quiet, and nobody may hold its folder."""
    folder = begin_run("node7", age_s=700)
    refused(line("rm", str(folder)), "is being trained on node7", "--yes deletes it")
    with FileLock(folder / ".lock"):
        refused(line("rm", str(folder), "--yes"), "is being trained on node7")
    assert line("rm", str(folder), "--yes").code == 0
    assert not folder.exists()


@pytest.mark.parametrize(("host", "age_s"), [("node7", 60), (socket.gethostname(), 700)], ids=["there", "here"])
def test_a_run_that_is_being_trained_is_not_deleted(host: str, age_s: float) -> None:
    """On another host it is so as long as it records something; here its process is seen."""
    folder = begin_run(host, age_s)
    refused(line("rm", str(folder), "--yes"), "is being trained", "stop it")
    assert folder.exists()
