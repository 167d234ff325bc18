"""A real sweep in miniature, how to call it, and what it must have left whatever happened on the way."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil

from attncli import records
from attncli.records import Epoch, Evaluation
from attncli.track import Tracker
from tests.shared import ROOT
from tests.track.recorded_runs import doubled

TINY = """
# Three mechanisms and the plain network, two seeds each, on a part of the digits.
recipe:
  data: {{name: digits, fraction: 0.4}}
  model: {{backbone: resnet20}}
  train: {{epochs: {epochs}, batch_size: 32, precision: fp32}}
  measure: {{speed: false}}
axes:
  attn: [{attn}]
  seeds: {seeds}
"""

OWN = '''"""A mechanism that goes wrong in its fourth training step."""

import os
import signal
import torch
from torch import Tensor, nn
from attncli.attention.card import Card

card = Card(title="Wrong", venue="none", year=2024, arxiv=None, site="gate", code="none")


class Attention(nn.Module):
    """Leaves x as it is, three times."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.steps = 0

    def forward(self, x: Tensor) -> Tensor:
        self.steps += self.training and len(x) > 2
        if self.steps > 3:
            {deed}
        return x
'''
DEEDS = {
    "raises": 'raise RuntimeError("out of ideas")',
    "nan": 'return x * float("nan")',
    "hungry": "torch.empty(1 << 46)",
    "killed": "os.kill(os.getpid(), signal.SIGKILL)",  # as the system does to who eats memory
}


def write(folder: Path, attn: str = "eca, se, simam", seeds: int = 2, epochs: int = 2) -> Path:
    """The file of a sweep, tiny.yaml."""
    path = folder / "tiny.yaml"
    path.write_text(TINY.format(attn=attn, seeds=seeds, epochs=epochs))
    return path


def write_own(folder: Path, name: str) -> Path:
    """A mechanism's file that goes wrong as its name says."""
    path = folder / f"{name}.py"
    path.write_text(OWN.format(deed=DEEDS[name]))
    return path


def start(file: Path, runs: Path, *options: str, jobs: int = 2) -> "subprocess.Popen[str]":
    """`attncli sweep` in a process of its own; its lines come on stderr."""
    words = ["sweep", str(file), "--runs", str(runs), "--jobs", str(jobs), *options]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("MLFLOW_")}
    return subprocess.Popen(
        [sys.executable, "-m", "attncli", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment | {"OMP_NUM_THREADS": "1"},
        cwd=ROOT,
    )


def call(file: Path, runs: Path, *options: str, jobs: int = 2) -> "subprocess.CompletedProcess[str]":
    """A whole `attncli sweep`."""
    process = start(file, runs, *options, jobs=jobs)
    out, err = process.communicate(timeout=600)
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def until(process: "subprocess.Popen[str]", word: str, count: int = 1) -> None:
    """Read its lines until `count` of them have begun with a word."""
    assert process.stderr is not None
    for line in process.stderr:
        count -= line.startswith(word)
        if not count:
            return
    raise AssertionError(f"ended before it said '{word}'")


def workers(process: "subprocess.Popen[str]") -> list[psutil.Process]:
    """The worker processes of a sweep."""
    try:
        return psutil.Process(process.pid).children()
    except psutil.NoSuchProcess:
        return []


def figures(runs: Path) -> dict[str, list[Any]]:
    """By digest, everything a run found that does not depend on the clock."""
    found = {}
    for path in sorted(runs.glob("*/result.json")):
        kept: list[Any] = []
        for record in records.read(path.parent):
            if isinstance(record, Epoch):
                kept.append((record.epoch, record.train_loss, record.lr, record.val_loss, record.val_top1))
            elif isinstance(record, Evaluation):
                kept.append((record.loss, record.top1, record.confusion))
        found[path.parent.name] = kept
    return found


def mlflow_runs(runs: Path) -> dict[str, list[Any]]:
    """The runs of the store by digest; the sweep's own parents under `sweep`."""
    client = client_of(runs)
    found: dict[str, list[Any]] = {}
    for run in client.search_runs([e.experiment_id for e in client.search_experiments()]):
        found.setdefault(run.data.tags.get("digest", "sweep"), []).append(run)
    return found


def client_of(runs: Path) -> Any:
    """MLflow's own client on the store of the runs."""
    from mlflow import MlflowClient

    return MlflowClient(Tracker.open(None, runs).uri)


def faults(runs: Path, wanted: dict[str, list[Any]]) -> list[str]:
    """What differs from an undisturbed sweep's figures, is lost, doubled or still RUNNING."""
    got, stored, client = figures(runs), mlflow_runs(runs), client_of(runs)
    bad = [f"{d}: {'lost' if d not in got else 'differs'}" for d in wanted if got.get(d) != wanted[d]]
    bad += [f"{d}: not in the sweep" for d in got.keys() - wanted.keys()]
    for digest, entries in stored.items():
        if len(entries) > 1:
            bad.append(f"{digest}: {len(entries)} MLflow runs")
        bad += [f"{digest}: {run.info.status}" for run in entries if run.info.status != "FINISHED"]
        bad += [f"{digest}: {key} doubled" for run in entries for key in doubled(client, run.info.run_id)]
    bad += [f"{d}: not in MLflow" for d in wanted.keys() - stored.keys()]
    for digest in wanted.keys() & stored.keys():
        run = stored[digest][0]
        top1 = next(r.top1 for r in records.read(runs / digest) if isinstance(r, Evaluation))
        if run.data.metrics.get("test/top1") != top1:
            bad.append(f"{digest}: MLflow has another figure")
    return bad
