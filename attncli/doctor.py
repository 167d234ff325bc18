"""Checks of this machine: each finding says what was checked, the result, and what to do if it is bad."""

import importlib.metadata
import importlib.util
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from attncli import attention, data
from attncli.errors import UserError
from attncli.quantities import format_quantity
from attncli.runs import RECIPE, find_unreadable_runs, read_failed_runs, read_folder_runs
from attncli.runs.mlflow_rows import list_unreadable_rows
from attncli.runs.unreadable import explain_unreadable_runs
from attncli.system import gpu_support
from attncli.track import RunStore
from attncli.track.store_errors import redact_address

LEAST_FREE_BYTES = 1 << 30  # bytes; a run with checkpoints takes a few hundred megabytes
PACKAGES = ("torch", "torchvision", "accelerate", "mlflow", "click")
EXTRAS = {  # the module of each extra of pyproject.toml, except the developers'
    "hf": "datasets",
    "onnx": "onnxscript",
    "postgres": "psycopg",
    "ray": "ray",
    "slurm": "submitit",
    "timm": "timm",
}


@dataclass(frozen=True)
class Finding:
    """The result of one check."""

    what: str
    ok: bool
    found: str
    hint: str = ""


def run_checks(run_store: RunStore) -> list[Finding]:
    """Check everything that a run needs, one after the other; one bad finding does not hide the others."""
    checks: tuple[tuple[str, Callable[[], Finding]], ...] = (
        ("python", _check_python),
        ("packages", _check_packages),
        ("extras", _list_extras),
        ("device", _check_device),
        ("precision", _check_precision),
        ("attention", _check_mechanisms),
        ("data root", _check_data_root),
        ("runs", lambda: _check_runs_folder(run_store.runs)),
        ("store", lambda: _check_store(run_store)),
    )
    return [_run_check(name, check) for name, check in checks]


def repair_runs_store(run_store: RunStore) -> Finding:
    """Repair the store if it is damaged, and say what was done."""
    from attncli import track

    def repair() -> Finding:
        result = track.repair_store(run_store)
        if result is None:
            return Finding("repair", True, "the store is in order: nothing to repair")
        problems = [f"{outcome.digest}: {outcome.problem}" for outcome in result.outcomes if outcome.problem]
        message = (
            f"{result.reason}; kept as {result.kept_file}; a new store has "
            f"{format_quantity(len(result.outcomes) - len(problems), 'run')} of {run_store.runs}"
        )
        return Finding("repair", not problems, "; ".join((message, *problems)))

    return _run_check("repair", repair)


def _run_check(name: str, check: Callable[[], Finding]) -> Finding:
    try:
        return check()
    except UserError as error:
        return Finding(name, False, error.problem, error.hint)
    except Exception as error:  # a library that fails on import is a finding too
        return Finding(name, False, f"{type(error).__name__}: {error}", "install the package again")


def _check_python() -> Finding:
    return Finding("python", sys.version_info >= (3, 11), f"{platform.python_version()} on {platform.platform()}")


def _check_packages() -> Finding:
    """Check the versions, and that torch and torchvision match (their compiled operators load)."""
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in PACKAGES)
    try:
        import torch
        from torchvision.ops import nms

        nms(torch.zeros(1, 4), torch.zeros(1), 0.5)
    except (ImportError, RuntimeError) as error:
        return Finding("packages", False, f"{versions}: {error}", "install torch and torchvision as a matching pair")
    return Finding("packages", True, versions)


def _list_extras() -> Finding:
    """List the optional packages by whether they are installed, with the command that installs the others."""
    missing = [name for name, module in EXTRAS.items() if importlib.util.find_spec(module) is None]
    installed = ", ".join(name for name in EXTRAS if name not in missing) or "none"
    advice = f"; not installed: pip install 'attncli[{','.join(missing)}]'" if missing else ""
    return Finding("extras", True, installed + advice)


def _check_device() -> Finding:
    from attncli.measure import environment
    from attncli.train import choose_device

    machine = environment.describe_machine()
    memory = f"{machine['memory_bytes'] / 2**30:.0f} GiB of memory"
    host = f"{machine['cpu']}, {machine['usable_cpus']} of {format_quantity(machine['cores'], 'core')}, {memory}"
    if obstacle := gpu_support.find_gpu_obstacle():
        return Finding("device", False, f"{obstacle[0]}; {host}", obstacle[1])
    cuda = f", CUDA {machine['cuda']}" if machine["cuda"] and machine["gpu"] != "mps" else ""
    accelerator = f"{machine['gpus']} x {machine['gpu']}{cuda}; " if machine["gpu"] else "no GPU; "
    try:
        choose_device()
    except UserError as error:
        return Finding("device", False, f"{error.problem}; {accelerator}{host}", error.hint)
    return Finding("device", True, accelerator + host)


def _check_precision() -> Finding:
    """Check what `train.precision=auto` means here."""
    from attncli.train import choose_device, resolve_precision

    chosen = resolve_precision("auto", choose_device())
    native = "native here" if chosen == "bf16" else "bf16 is not native here, machines that have it train faster"
    return Finding("precision", True, f"auto is {chosen} ({native})")


def _check_mechanisms() -> Finding:
    """Check that every mechanism's file can be read, those of other packages' entry points too."""
    names = attention.mechanism_names()
    for name in names:
        attention.describe_mechanism(name)
    plugin_names = [name for name in names if attention.describe_mechanism(name).category == "own"]
    return Finding(
        "attention",
        True,
        f"{len(names)} mechanisms" + (f", from other packages: {plugin_names}" if plugin_names else ""),
    )


def _check_data_root() -> Finding:
    root = data.find_default_root()
    return Finding("data root", True, f"{root} ({'exists' if root.exists() else 'made by the first download'})")


def _check_runs_folder(runs: Path) -> Finding:
    """Check that the folder can be written and the disk has room."""
    folder = next(ancestor for ancestor in (runs.absolute(), *runs.absolute().parents) if ancestor.exists())
    try:
        with tempfile.TemporaryFile(dir=folder):
            free = shutil.disk_usage(folder).free
    except OSError as error:
        return Finding("runs", False, f"{runs}: {error.strerror}", "choose a folder that can be written with --runs")
    message = f"{runs}: writable, {free / 2**30:.1f} GiB free"
    errors = find_unreadable_runs(runs, read_folder_runs(runs))
    read_failed_runs(runs, errors.append)
    if errors:
        problems, hints = zip(*((error.problem, error.hint) for error in errors), strict=True)
        return Finding("runs", False, "; ".join((message, *problems)), "; ".join(hints))
    return Finding(
        "runs", free >= LEAST_FREE_BYTES, message, "" if free >= LEAST_FREE_BYTES else "make room on that disk"
    )


def _check_store(run_store: RunStore) -> Finding:
    """Check that the tracking store answers, and that its runs without a folder can be read."""
    from attncli import track

    rows = track.list_run_rows(run_store)
    folders = {path.parent.name for path in run_store.runs.glob(f"*/{RECIPE}")}
    lone_rows = [row for row in rows if row["digest"] not in folders]
    counts = [f"{sum(row['status'] == 'RUNNING' for row in rows)} of them running"]
    if lone_rows:
        counts.append(f"{len(lone_rows)} without a folder in {run_store.runs}")
    message = f"{_describe_address(run_store)}: {', '.join([format_quantity(len(rows), 'run'), *counts])}"
    errors = explain_unreadable_runs(list_unreadable_rows(lone_rows))
    problems, hints = [error.problem for error in errors], [error.hint for error in errors]
    return Finding("store", not errors, "; ".join((message, *problems)), "; ".join(hints))


def _describe_address(run_store: RunStore) -> str:
    """Return the address of the store without a password, and that an environment variable named it, if one did."""
    is_from_environment = run_store.tracking_uri is None and os.environ.get("MLFLOW_TRACKING_URI")
    return redact_address(run_store.resolve_address()) + (" from MLFLOW_TRACKING_URI" if is_from_environment else "")
