"""What a run shows while it goes on and when it ends."""

import io
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from attncli.recipe import Recipe
from attncli.records import Epoch, Evaluation, Result, Speed, append_record
from attncli.report import run_progress
from attncli.report.run_progress import RunProgress, format_duration, format_epoch
from attncli.report.summary import render_run_summary
from attncli.runs import RunStore
from attncli.train.progress import TrainingProgress


def epoch(**given: object) -> Epoch:
    """An epoch record."""
    return Epoch(
        **{"epoch": 3, "train_loss": 0.5, "lr": 0.1, "train_images_per_s": 1234.0, "train_seconds": 2.0, **given}
    )


def result(**given: Any) -> Result:
    """A finished run."""
    values: dict[str, Any] = {
        "digest": "0123456789ab", "run_id": "r", "status": "FINISHED", "attn": "eca", "backbone": "resnet18",
        "dataset": "digits", "category": "channel", "seed": 0, "epochs": 12, "test_top1": 0.98, "test_top5": 1.0,
        "test_loss": 0.1, "val_top1": 0.97, "best_val_top1": 0.98, "baseline": "resnet18",
        "params": 110, "baseline_params": 100, "macs": 200,
        "baseline_macs": 200, "train_images_per_s": 500.0, "infer_images_per_s": 900.0, "train_ratio": 0.9,
        "infer_ratio": 0.8, "seconds": 12.0, "precision": "bf16", "device": "cpu", "machine": {}, "group": "g",
        "data_digest": "", "folder": "runs/0123456789ab",
    }  # fmt: skip
    return Result(**{**values, **given})


@pytest.mark.parametrize(("seconds", "shown"), [(0, "0:00"), (59.6, "1:00"), (3661, "1:01:01"), (-3, "0:00")])
def test_clock(seconds: float, shown: str) -> None:
    """Seconds as minutes, or hours, with rounding carried over."""
    assert format_duration(seconds) == shown


def test_epoch_line_tells_what_there_is() -> None:
    """The validation figure stands there only where one was made."""
    assert format_epoch(epoch(val_top1=0.5), 12) == "epoch   3/12  loss 0.5000  val top-1 50.00%  1,234 images/s"
    assert "val" not in format_epoch(epoch(), 12)


def test_live_writes_to_stderr_only(capsys: pytest.CaptureFixture[str]) -> None:
    """Progress never mixes with data on stdout; quiet hides all but the warnings, which say what the figures mean."""
    test = Evaluation(split="test", images=10, loss=0.1, top1=0.9, top5=1.0, images_per_s=1.0, confusion=[[10]])
    for quiet in (False, True):
        with RunProgress(quiet, 6) as live:
            live.on_stage("begin")
            live.on_record(epoch(epoch=1))  # of an earlier call, before there is a step
            live.on_reading("decoding", 1, 2)
            live.on_step(
                TrainingProgress(epoch=1, epochs=2, step=1, steps=4, images_per_s=10.0, seconds_left=3.0, loss=1.0)
            )
            live.on_record(epoch())
            live.on_record(test)
            live.on_warning("copies of training images")
        out, err = capsys.readouterr()
        assert out == ""
        assert ("test: top-1 90.00% of 10 images" in err) == (not quiet)
        assert ("epoch   1/6 " in err) == (not quiet)
        assert err.count("copies of training images") == 1
        assert len(err.splitlines()) == 1 or not quiet


def test_names_are_printed_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    """What a user calls folders, classes and runs may look like the markup of a terminal library."""
    name = "birds [small] [/x] :cat:"
    for quiet in (False, True):
        with RunProgress(quiet) as live:
            live.on_stage("begin", name)
            live.on_warning(name)
        assert capsys.readouterr().err.count(name) == (1 if quiet else 2)


@pytest.mark.parametrize("name", ["birds [small]", "[/x]"])
def test_names_stand_in_the_bar_as_they_are(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are named while they are read."""
    file = io.StringIO()
    monkeypatch.setattr(run_progress, "Console", lambda **given: Console(file=file, force_terminal=True, width=80))
    with RunProgress() as live:
        live.on_reading(name, 1, 2)
    assert name in file.getvalue()


def finished_run(runs: Path, attn: str, seed: int = 0, **given: Any) -> Result:
    """A finished run's folder with its recipe and result."""
    recipe = Recipe()
    recipe = recipe.model_copy(update={"seed": seed, "model": recipe.model.model_copy(update={"attn": attn})})
    folder = runs / recipe.compute_digest()
    folder.mkdir(parents=True)
    (folder / "recipe.yaml").write_text(recipe.to_yaml())
    made = result(digest=folder.name, attn=attn, seed=seed, folder=str(folder), **given)
    (folder / "result.json").write_text(json.dumps(asdict(made)))
    return made


def test_summary_tells_overhead_and_next_step(tmp_path: Path) -> None:
    """Counts are told with what they add; the last lines name the next commands, with the folder of the runs."""
    text = render_run_summary(finished_run(tmp_path, "eca"), RunStore(tmp_path))
    assert "110   +10 (+10.000%) over plain resnet18" in text
    assert "500 images/s   0.90 x plain resnet18" in text
    assert "difference" not in text
    assert f"attncli run --attn none --backbone resnet18 --runs {tmp_path}" in text
    assert f"attncli look eca-resnet18-s0 --runs {tmp_path}" in text
    on_server = render_run_summary(finished_run(tmp_path, "se"), RunStore(tmp_path, "http://head:5000"))
    commands = on_server.partition("Next:")[2].strip().splitlines()
    assert [
        command for command in commands if f"--runs {tmp_path} --tracking-uri http://head:5000" not in command
    ] == []
    assert "attncli compare" in render_run_summary(result(), RunStore(Path("runs"))).splitlines()[-1]


def test_summary_tells_the_difference_to_the_plain_network(tmp_path: Path) -> None:
    """With the baseline of the same seed there, the card tells the difference and asks for another seed."""
    finished_run(tmp_path, "none", test_top1=0.975)
    finished_run(tmp_path, "none", seed=1, test_top1=0.5)
    text = render_run_summary(finished_run(tmp_path, "eca", test_top1=0.98), RunStore(tmp_path))
    assert "+0.50 points to plain resnet18, 97.50%, at this one seed" in text
    assert "--attn eca --backbone resnet18 --seed 1" in text


def test_a_wide_ratio_of_speeds_is_shown_with_its_interval(tmp_path: Path) -> None:
    """Noise of a busy machine is seen; a narrow interval is left out."""
    made = finished_run(tmp_path, "eca")
    speed = Speed(
        train_images_per_s=1.0, infer_images_per_s=1.0, baseline_train_images_per_s=1.0,
        baseline_infer_images_per_s=1.0, train_ratio=0.9, train_ratio_low=0.7, train_ratio_high=1.2, infer_ratio=0.8,
        infer_ratio_low=0.78, infer_ratio_high=0.82, batch_size=1, repeats=1, precision="fp32", device="cpu", threads=1,
    )  # fmt: skip
    append_record(Path(made.folder), speed)
    text = render_run_summary(made, RunStore(tmp_path))
    assert "0.90 x plain resnet18 (0.70 to 1.20)" in text
    assert "0.80 x plain resnet18\n" in text


def test_summary_of_an_untimed_run_has_no_speed(tmp_path: Path) -> None:
    """Without timing there is no line about speed, and equal counts are told without an overhead."""
    made = finished_run(tmp_path, "none", train_images_per_s=None, infer_images_per_s=None)
    text = render_run_summary(made, RunStore(tmp_path))
    assert "training" not in text
    assert "  MACs          200  " in text
    assert "--attn eca" in text
