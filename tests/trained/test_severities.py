"""`attncli eval --severity` takes several: a row each, and the mean over them, by which runs are compared."""

from pathlib import Path
from statistics import fmean

import pytest

from tests.commands.line import line, refused
from tests.trained.case import trained_run


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of runs: one of eca and one of the plain network."""
    runs = tmp_path_factory.mktemp("project") / "runs"
    for attn in ("eca", "none"):
        trained_run(runs, attn=attn)
    return runs


def test_means_follow_the_severities(folder: Path) -> None:
    """Each severity is that of a call of its own; the last row is the mean of all of them."""
    place = ("--runs", str(folder), "--json")
    rows = line("eval", "eca-resnet20-s0", "--corruption", "fog,jpeg", "--severity", "5,1", *place).json()
    assert [row["on"] for row in rows] == ["fog-1", "fog-5", "fog-mean", "jpeg-1", "jpeg-5", "jpeg-mean", "mean"]
    for figure in ("top1", "top5", "loss"):
        values = {row["on"]: row[figure] for row in rows}
        assert values["fog-mean"] == pytest.approx((values["fog-1"] + values["fog-5"]) / 2)
        assert values["mean"] == pytest.approx((values["fog-mean"] + values["jpeg-mean"]) / 2)
    assert {row["images"] for row in rows} == {382}
    alone = line("eval", "eca-resnet20-s0", "--corruption", "fog,jpeg", "--severity", "5", *place).json()
    assert alone == [row for row in rows if row["on"] in ("fog-5", "jpeg-5")]


def test_runs_are_compared_by_the_mean(folder: Path) -> None:
    """The difference is that of the rows `fog-mean`, and the line above names all severities."""
    words = ("eval", "eca-resnet20-s0", "none-resnet20-s0", "--corruption", "fog", "--runs", str(folder))
    rows = line(*words, "--severity", "all", "--json").json()
    names = {row["run"] for row in rows}
    accuracy = {name: [row["top1"] for row in rows if row["run"] == name] for name in names}
    assert [len(values) for values in accuracy.values()] == [6, 6]
    table = line(*words, "--severity", "all", "--format", "markdown").out
    assert "fog at severities 1, 2, 3, 4, 5" in table
    for values in accuracy.values():
        assert values[-1] == pytest.approx(fmean(values[:-1]))
        assert f"{100 * values[-1]:.2f}" in table


@pytest.mark.parametrize("severity", ["0", "6", "1,x", "", "all,1", "1.5"])
def test_what_is_no_severity_is_refused(severity: str, folder: Path) -> None:
    """One line, before anything is evaluated."""
    words = ("eval", "eca-resnet20-s0", "--corruption", "fog", "--severity", severity, "--runs", str(folder))
    refused(line(*words), f"--severity {severity}: not from 1 to 5", "1,2,5")
