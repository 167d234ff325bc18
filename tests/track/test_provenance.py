"""Facts of origin.json: it survives a resume, tells a dead process, and names the code that ran."""

import os
import socket
import subprocess
import sys
from dataclasses import replace

from attncli.recipe import Recipe
from attncli.track import provenance
from attncli.track.provenance import ProcessIdentity
from tests.track.recorded_runs import FACTS, folder, recipe


def test_round_trip(tmp_path):
    """What is written is read back, tuples and all."""
    path = folder(tmp_path, recipe())
    begun = provenance.begin_provenance(path, recipe(), FACTS, {"cpu": "x"})
    assert provenance.read_provenance(path) == begun
    assert begun.digest == path.name


def test_a_resumed_run_keeps_its_start(tmp_path):
    """The first call's start stays, the process is the new one, and it runs again."""
    path = folder(tmp_path, recipe())
    first = provenance.end_provenance(
        path, replace(provenance.begin_provenance(path, recipe(), FACTS, {}), started_ms=5), "KILLED"
    )
    again = provenance.begin_provenance(path, recipe(), FACTS, {})
    assert (again.started_ms, again.status, again.ended_ms) == (5, "RUNNING", None)
    assert first.status == "KILLED"


def test_no_or_broken_file_is_none(tmp_path):
    """A folder without origin.json, or with half of one, has no origin."""
    assert provenance.read_provenance(tmp_path) is None
    (tmp_path / provenance.ORIGIN_FILE).write_text('{"digest": "a"')
    assert provenance.read_provenance(tmp_path) is None
    (tmp_path / provenance.ORIGIN_FILE).write_text('{"facts": null, "process": {}}')
    assert provenance.read_provenance(tmp_path) is None


def test_a_process_is_lost_when_it_is_gone():
    """This process lives; one that ended, or whose number another has now, is lost; other hosts' can't be told."""
    mine = provenance.identify_process()
    assert not mine.is_dead()
    with subprocess.Popen([sys.executable, "-c", ""]) as child:
        pass
    assert ProcessIdentity(host=socket.gethostname(), pid=child.pid, started=mine.started).is_dead()
    assert replace(mine, started=mine.started - 3600).is_dead()
    assert not ProcessIdentity(host="elsewhere", pid=child.pid, started=0.0).is_dead()


def test_running_without_a_process_is_killed(tmp_path):
    """A run that died without a word is told as KILLED, one that said how it ended as that."""
    begun = provenance.begin_provenance(folder(tmp_path, recipe()), recipe(), FACTS, {})
    assert begun.current_status() == "RUNNING"
    gone = replace(begun, process=replace(begun.process, started=0.0))
    assert gone.current_status() == "KILLED"
    assert replace(gone, status="FAILED").current_status() == "FAILED"


def test_commit_of_the_current_folder(tmp_path, monkeypatch):
    """The commit is that of the folder the run starts in, dirty once a tracked file changes, not before."""
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "elsewhere"))  # as a hook would set it
    who = {"GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@b", "GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@b"}
    environment = {k: v for k, v in os.environ.items() if k != "GIT_DIR"} | who

    def git(*words):
        done = subprocess.run(
            ["git", *words], cwd=tmp_path, env=environment, check=True, capture_output=True, text=True
        )
        return done.stdout.strip()

    (tmp_path / "mine.py").write_text("1\n")
    git("init", "-q")
    git("add", ".")
    git("-c", "commit.gpgsign=false", "commit", "-qm", "one")
    monkeypatch.chdir(tmp_path)
    assert provenance.read_git_state() == (git("rev-parse", "HEAD"), False)
    (tmp_path / "mine.py").write_text("2\n")
    assert provenance.read_git_state()[1]


def test_a_worker_asks_git_once(tmp_path, monkeypatch):
    """All runs of a sweep's process have the commit of the code that it has loaded; other runs ask each time."""
    monkeypatch.chdir(tmp_path)
    answers = iter([("a", False), ("b", True), ("c", False)])
    monkeypatch.setattr(provenance, "read_git_state", lambda: next(answers))
    begun = [
        provenance.begin_provenance(tmp_path / str(number), Recipe(seed=number), None, {}, in_sweep=in_sweep)
        for number, in_sweep in enumerate([True, True, False, False])
    ]
    assert [(run.commit, run.dirty) for run in begun] == [("a", False), ("a", False), ("b", True), ("c", False)]


def test_without_git(monkeypatch):
    """No git on the path: no commit, and nothing else goes wrong."""
    monkeypatch.setenv("PATH", "")
    assert provenance.read_git_state() == (None, False)
