"""Where a run comes from: its data, code, machine and process, kept in runs/<digest>/origin.json.

With this file a run can be brought into any MLflow store later, as if it had been recorded there live.
"""

import json
import os
import socket
import subprocess
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import psutil

import attncli
from attncli import records
from attncli.recipe import Recipe
from attncli.records import Result, Status
from attncli.system.code_reference import label_mechanism_name
from attncli.system.files import write_atomically
from attncli.track.own_code import name_own_code

ORIGIN_FILE = "origin.json"


@dataclass(frozen=True, kw_only=True)
class DatasetInfo:
    """The images a run used: `digest` is the SHA-256 (hex) of their content, `source` where they came from."""

    name: str
    digest: str
    source: str
    classes: tuple[str, ...]
    size: tuple[int, int]  # H, W in pixels
    train: int  # images of each part
    val: int
    test: int
    frames: int | None = None  # T, if a sample is a clip
    mean: tuple[float, float, float] | None = None  # by which images were normalised; None in earlier versions
    std: tuple[float, float, float] | None = None
    grey_range: tuple[float, float] | None = None  # values that are black and white, if there are 16-bit images


@dataclass(frozen=True, kw_only=True)
class ProcessIdentity:
    """A process, distinguishable from a later one with the same number."""

    host: str
    pid: int
    started: float  # seconds since 1970

    def is_dead(self) -> bool:
        """Return whether it ran on this host and has ended; False if it ran on another host."""
        if self.host != socket.gethostname():
            return False
        try:
            process = psutil.Process(self.pid)
            return abs(process.create_time() - self.started) > 1 or process.status() == psutil.STATUS_ZOMBIE
        except (psutil.NoSuchProcess, ValueError, OverflowError):  # the last two: no number of a process
            return True
        except psutil.AccessDenied:
            return False


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """Everything about a run that its recipe and records do not hold; times in milliseconds since 1970."""

    digest: str
    group: str
    started_ms: int  # start of the first call; a resumed run keeps it
    process: ProcessIdentity  # end of the last call
    version: str = attncli.__version__
    commit: str | None = None  # of the folder in which the run was started, else of attncli's own checkout
    dirty: bool = False  # whether that checkout had uncommitted changes
    facts: DatasetInfo | None = None
    machine: dict[str, Any] = field(default_factory=dict)
    precision: str = ""  # in which it trains, on which device, by which code, as in `Result`; "" in earlier versions
    device: str = ""
    code: str = ""
    status: Status = "RUNNING"
    ended_ms: int | None = None
    run_id: str | None = None  # in MLflow; None in earlier versions
    own_code: dict[str, str] = field(default_factory=dict)  # see `name_own_code`; empty in earlier versions

    def current_status(self) -> Status:
        """Return the run's status: KILLED if its process died without setting one."""
        return "KILLED" if self.status == "RUNNING" and self.process.is_dead() else self.status


def identify_process() -> ProcessIdentity:
    """Return the identity of this process."""
    return ProcessIdentity(host=socket.gethostname(), pid=os.getpid(), started=psutil.Process().create_time())


def begin_provenance(
    folder: Path,
    recipe: Recipe,
    dataset_info: DatasetInfo | None,
    machine: dict[str, Any],
    *,
    fresh: bool = False,
    in_sweep: bool = False,
    tags: Mapping[str, str] | None = None,
) -> Provenance:
    """Return the provenance of a run that starts or resumes now (`fresh`: starts), and write it to its folder.

    Args:
        folder: of the run.
        recipe: of the run.
        dataset_info: its images, if they are known.
        machine: what it runs on.
        fresh: whether an earlier one in the folder does not count.
        in_sweep: whether the process does one run after another with the code that it has loaded: git is asked once.
        tags: the run's tags, of which its `precision`, `device` and `code` are kept.
    """
    folder.mkdir(parents=True, exist_ok=True)
    known_tags = tags or {}
    known_provenance = read_provenance(folder)
    earlier = None if fresh else known_provenance
    commit, dirty = _read_first_git_state(Path.cwd()) if in_sweep else read_git_state()
    provenance = Provenance(
        digest=folder.name,
        group=earlier.group if earlier else recipe.compute_group(),
        started_ms=earlier.started_ms if earlier else now_ms(),
        process=identify_process(),
        commit=commit,
        dirty=dirty,
        facts=dataset_info,
        machine=machine,
        precision=known_tags.get("precision", ""),
        device=known_tags.get("device", ""),
        code=known_tags.get("code", ""),
        run_id=known_provenance.run_id if known_provenance else None,  # which a fresh start replaces
        own_code=name_own_code(recipe),
    )
    write_provenance(folder, provenance)
    return provenance


def keep_run_id(folder: Path, provenance: Provenance, run_id: str) -> Provenance:
    """Return the provenance with the id of its MLflow run, and write it to the folder if that has another one."""
    if provenance.run_id == run_id:
        return provenance
    named = replace(provenance, run_id=run_id)
    with suppress(OSError):  # the run is found by its digest then
        write_provenance(folder, named)
    return named


def end_provenance(folder: Path, provenance: Provenance, status: Status) -> Provenance:
    """Return the provenance with the run's final status, and write it to the folder unless its disk is full or gone."""
    ended = replace(provenance, status=status, ended_ms=now_ms())
    with suppress(OSError):  # that may be why the run ends, and must not hide it
        write_provenance(folder, ended)
    return ended


def read_finished_result(folder: Path) -> Result | None:
    """Return the result of a run that finished and closed its records, or None."""
    provenance, result = read_provenance(folder), records.read_result(folder)
    if result is None or (provenance is not None and provenance.status != "FINISHED"):
        return None
    if provenance is None or provenance.facts is None:
        return result
    return records.recover_test_counts(result, provenance.facts.test)


def write_provenance(folder: Path, provenance: Provenance) -> None:
    """Write runs/<digest>/origin.json."""
    write_atomically(folder / ORIGIN_FILE, json.dumps(asdict(provenance), indent=2) + "\n")


def read_provenance(folder: Path) -> Provenance | None:
    """Return the provenance in a run's folder, or None if there is none or it is incomplete."""
    try:
        return records.parse_json_record(Provenance, json.loads((folder / ORIGIN_FILE).read_text(encoding="utf-8")))
    except (OSError, ValueError, RecursionError):
        return None


def now_ms() -> int:
    """Return milliseconds since 1970."""
    return time.time_ns() // 1_000_000


def read_git_state() -> tuple[str | None, bool]:
    """Return (commit, dirty) of the current folder's repository, else of attncli's own, else (None, False)."""
    for folder in (Path.cwd(), Path(attncli.__file__).parent):
        commit = _run_git(folder, "rev-parse", "HEAD")
        if commit:
            return commit, bool(_run_git(folder, "status", "--porcelain", "--untracked-files=no"))
    return None, False


@cache
def _read_first_git_state(_folder: Path) -> tuple[str | None, bool]:
    """Return what `read_git_state` said the first time in this process and folder: two calls of git take 0.04 s."""
    return read_git_state()


def _run_git(folder: Path, *arguments: str) -> str | None:
    """Return what git prints, or None if it is missing, slow or fails."""
    environment = {k: v for k, v in os.environ.items() if k not in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE")}
    environment["GIT_OPTIONAL_LOCKS"] = "0"
    try:
        completed = subprocess.run(
            ["git", "-C", str(folder), *arguments],
            capture_output=True,
            encoding="utf-8",
            errors="replace",  # names of files, if git is set to print them as they are
            timeout=5,
            env=environment,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return completed.stdout.strip()


def label_mechanism(recipe: Recipe) -> str:
    """Return the mechanism's name for tags and tables; for a user's file its name, and that of the class in it."""
    return label_mechanism_name(recipe.model.attn)
