"""What a sweep shows before, during and after it."""

import io
import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from attncli.jobs import (
    JobsChanged,
    PlannedRun,
    SweepPlan,
    Task,
    TaskEnded,
    TaskProgress,
    TaskStage,
    TaskStarted,
    TaskWaiting,
    TaskWarning,
)
from attncli.jobs.estimate import DurationEstimate
from attncli.recipe import Recipe
from attncli.report import sweep_progress as shown
from attncli.report import sweep_summary
from attncli.report.sweep_progress import SweepProgress
from attncli.runs import RunStore
from tests.report.test_run_progress import result


def planned(attn: str, seed: int = 0, *, seconds: float | None = None, done: bool = False) -> PlannedRun:
    """A run of a plan."""
    recipe = Recipe.model_validate({"model": {"attn": attn}, "measure": {"speed": False}, "seed": seed})
    return PlannedRun(
        recipe=recipe,
        digest=recipe.compute_digest(),
        title=f"{attn}, seed {seed}",
        result=result() if done else None,
        has_checkpoint=False,
        estimate=None if seconds is None else DurationEstimate(seconds, "measured run"),
    )


def test_number_of_jobs_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    """When a GPU turns out to have room, the line says how many runs share it and why, and the time left shrinks."""
    plan = SweepPlan("s", tuple(planned("se", seed, seconds=60.0) for seed in range(4)))
    with SweepProgress(plan, Path("runs"), jobs=1) as board:
        before = board.estimate_seconds_left()
        board.handle_event(JobsChanged(4, "it computed 20% of the time"))
        assert board.estimate_seconds_left() == before / 4
    assert "4 runs at a time: it computed 20% of the time" in capsys.readouterr().err


def task(of: PlannedRun, *, timing: bool = False) -> Task:
    """The run as a task."""
    return Task(recipe=of.recipe, digest=of.digest, title=of.title, timing=timing)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, as the board sees it."""
    now = [100.0]
    monkeypatch.setattr(shown.time, "monotonic", lambda: now[0])
    return now


def test_runs_of_one_title_are_two_rows(tmp_path: Path) -> None:
    """Two files of one's own may have the same name, in two folders: the progress of one is not that of the other."""
    runs = [replace(planned("se", seed), title="mine, seed 0") for seed in range(2)]
    with SweepProgress(SweepPlan("s", tuple(runs)), tmp_path, jobs=2) as board:
        for run, seconds_left in zip(runs, (60.0, 10.0), strict=True):
            board.handle_event(TaskStarted(task(run)))
            board.handle_event(
                TaskProgress(task=task(run), epoch=1, epochs=2, images_per_s=1.0, seconds_left=seconds_left)
            )
        assert board.render_table().renderables[0].row_count == 2
        assert board.estimate_seconds_left() == 60
        board.handle_event(TaskEnded(task(runs[1]), "FAILED", "out of ideas"))
        assert board.estimate_seconds_left() == 60


def test_lines_where_there_is_no_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], clock: list[float]
) -> None:
    """Beginnings, endings and warnings on stderr, with the count and the time left; nothing on stdout."""
    none, se, eca = planned("none", done=True), planned("se"), planned("eca")
    (tmp_path / se.digest).mkdir()
    (tmp_path / se.digest / "result.json").write_text(json.dumps(asdict(result(test_top1=0.5))))
    with SweepProgress(SweepPlan("s", (none, se, eca)), tmp_path, jobs=1) as board:
        board.handle_event(TaskEnded(task(se, timing=True), "FAILED", "out of ideas"))
        board.handle_event(TaskStarted(task(se)))
        board.handle_event(TaskStage(task(se), "100 images"))
        board.handle_event(TaskWarning(task(se), "store away"))
        clock[0] += 75
        board.handle_event(TaskEnded(task(se), "FINISHED"))
        board.handle_event(TaskStarted(task(eca)))
        board.handle_event(TaskWarning(task(eca), "store away"))  # printed once a sweep
        board.handle_event(TaskEnded(task(eca), "KILLED", "its process was killed by SIGKILL", "fewer --jobs"))
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        "not timed se, seed 0 (timing): out of ideas",
        "begun     se, seed 0",
        "warning: se, seed 0: store away",
        "finished  se, seed 0: top-1 50.00%, 1:15; 2 of 3 runs, about 1:15 left",
        "begun     eca, seed 0",
        "killed    eca, seed 0: its process was killed by SIGKILL",
    ]
    assert [f.task.title for f in board.failures] == ["eca, seed 0"]


def test_a_run_with_a_checkpoint_resumes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It is not said to begin, as the others are."""
    stopped, new = replace(planned("se"), has_checkpoint=True), planned("eca")
    with SweepProgress(SweepPlan("s", (stopped, new)), tmp_path, jobs=1) as board:
        for run in (stopped, new):
            board.handle_event(TaskStarted(task(run)))
    assert capsys.readouterr().err.splitlines() == ["resumes   se, seed 0", "begun     eca, seed 0"]


def test_what_another_process_does_is_told_as_such(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], clock: list[float]
) -> None:
    """Once that it is waited for, then that it was finished there; its time is not taken for one of ours."""
    a = planned("se")
    with SweepProgress(SweepPlan("s", (a, planned("eca"))), tmp_path, jobs=1) as board:
        for _ in range(2):
            board.handle_event(TaskStarted(task(a)))
            clock[0] += 3
            board.handle_event(TaskWaiting(task(a)))
        board.handle_event(TaskEnded(task(a), "FINISHED"))
    lines = capsys.readouterr().err.splitlines()
    waiting, finished = [text for text in lines if not text.startswith("begun")]
    assert waiting.startswith("waiting   se, seed 0: ")
    assert finished == "finished  se, seed 0: top-1 - (by another process); 1 of 2 runs"


def test_the_table_shows_a_stage_as_it_is(tmp_path: Path) -> None:
    """Also one that names the run, with a colon in it."""
    from rich.console import Console

    se = planned("se")
    with SweepProgress(SweepPlan("s", (se,)), tmp_path, jobs=1) as board:
        board.handle_event(TaskStarted(task(se)))
        board.handle_event(TaskStage(task(se), "beside se, seed 0: 100 images"))
        console = Console(width=100, record=True)
        console.print(board.render_table())
    assert "beside se, seed 0: 100 images" in console.export_text()


def test_quiet_is_quiet(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Failures are kept all the same, and warnings are shown, which say what the figures mean."""
    run = planned("se")
    with SweepProgress(SweepPlan("s", (run,)), tmp_path, jobs=1, quiet=True) as board:
        board.handle_event(TaskStarted(task(run)))
        board.handle_event(TaskWarning(task(run), "copies of training images"))
        board.handle_event(TaskEnded(task(run), "FAILED", "x"))
    out, err = capsys.readouterr()
    assert out == ""
    assert [line.endswith("copies of training images") for line in err.splitlines()] == [True]
    assert len(board.failures) == 1


def test_the_table_shows_who_is_at_work(tmp_path: Path, clock: list[float]) -> None:
    """Epoch, speed and time left of each; a run that waits for another process is not active."""
    from rich.console import Console

    a, b = planned("se"), planned("eca")
    board = SweepProgress(SweepPlan("s", (a, b)), tmp_path, jobs=2)
    board.handle_event(TaskStarted(task(a)))
    board.handle_event(TaskProgress(task=task(a), epoch=2, epochs=5, images_per_s=1234.0, seconds_left=61.0))
    board.handle_event(TaskStarted(task(b)))
    board.handle_event(TaskWaiting(task(b)))
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(board.render_table())
    text = console.export_text()
    assert [word in text for word in ("se, seed 0", "epoch 2/5", "1,234", "1:01")] == [True] * 4
    assert "eca" not in text
    assert "0 of 2 runs" in text


def test_time_left(tmp_path: Path, clock: list[float]) -> None:
    """By the plan, then by what was finished here; shared out among the jobs, never less than the longest."""
    runs = tuple(planned("se", seed, seconds=5.0) for seed in range(4))
    board = SweepProgress(SweepPlan("s", runs), tmp_path, jobs=2)
    assert board.estimate_seconds_left() == 20.0
    board.handle_event(TaskStarted(task(runs[0])))
    board.handle_event(TaskStarted(task(runs[1])))
    clock[0] += 30
    board.handle_event(TaskEnded(task(runs[0]), "FINISHED"))
    board.handle_event(TaskProgress(task=task(runs[1]), epoch=1, epochs=2, images_per_s=1.0, seconds_left=90.0))
    assert board.estimate_seconds_left() == pytest.approx(90.0)
    board.handle_event(TaskProgress(task=task(runs[1]), epoch=1, epochs=2, images_per_s=1.0, seconds_left=10.0))
    assert board.estimate_seconds_left() == pytest.approx((10 + 2 * 30) / 2)


def test_time_left_after_a_slow_mechanism(tmp_path: Path, clock: list[float]) -> None:
    """Another seed of it takes as long again; the others as the plan says, by the pace of what has finished."""
    slow, again = planned("involution", 0, seconds=100.0), planned("involution", 1, seconds=100.0)
    quick, unknown = planned("se", seconds=5.0), planned("eca")
    board = SweepProgress(SweepPlan("s", (slow, again, quick, unknown)), tmp_path, jobs=1)
    board.handle_event(TaskStarted(task(slow)))
    clock[0] += 300
    board.handle_event(TaskEnded(task(slow), "FINISHED"))
    assert board.estimate_seconds_left() == pytest.approx(300 + 3 * 5 + 300)  # the last one: the mean of what finished
    board.handle_event(TaskStarted(task(quick)))
    clock[0] += 10
    assert board.estimate_seconds_left() == pytest.approx(300 + 5 + 300)
    board.handle_event(TaskEnded(task(quick), "FINISHED"))
    assert board.estimate_seconds_left() == pytest.approx(300 + (300 + 10) / 2)


def test_other_seeds_take_as_long_as_most_of_those_that_finished(tmp_path: Path, clock: list[float]) -> None:
    """One seed that the machine was slow for says nothing about the next: the median counts."""
    runs = tuple(planned("se", seed, seconds=5.0) for seed in range(4))
    board = SweepProgress(SweepPlan("s", runs), tmp_path, jobs=1)
    for run, seconds in zip(runs, (300, 10, 20), strict=False):
        board.handle_event(TaskStarted(task(run)))
        clock[0] += seconds
        board.handle_event(TaskEnded(task(run), "FINISHED"))
    assert board.estimate_seconds_left() == pytest.approx(20)


def test_time_left_is_told_by_the_runs_at_work_where_nothing_else_is_known(tmp_path: Path, clock: list[float]) -> None:
    """A first run's own time stands for those to come; before it says anything there is no figure."""
    runs = tuple(planned("se", seed) for seed in range(3))
    board = SweepProgress(SweepPlan("s", runs), tmp_path, jobs=1)
    board.handle_event(TaskStarted(task(runs[0])))
    assert board.estimate_seconds_left() is None
    assert board.format_progress() == "0 of 3 runs"
    clock[0] += 10
    board.handle_event(TaskProgress(task=task(runs[0]), epoch=1, epochs=2, images_per_s=1.0, seconds_left=20.0))
    assert board.estimate_seconds_left() == pytest.approx(20 + 2 * 30)


def test_a_plan_in_words() -> None:
    """What is finished, what is known of the time and what is not."""
    made = SweepPlan("s", (planned("none", done=True), planned("se", seconds=90.0), planned("eca")))
    text = sweep_summary.render_plan(made, width=200)
    assert "finished" in text
    assert "1:30" in text
    assert "unknown" in text
    last_line = text.splitlines()[-1]
    assert last_line.startswith("s: 3 runs, 1 finished; about 1:30 for 1 (measured run: 1), and 1 ")
    assert "unknown" in sweep_summary.format_remaining(SweepPlan("s", (planned("se"),)))
    assert sweep_summary.format_remaining(SweepPlan("s", (planned("se", done=True),))) == "s: 1 run, 1 finished"


def test_an_end_names_every_failure_with_its_log(tmp_path: Path) -> None:
    """Problem, log and hint of each, and the command that resumes."""
    runs = (planned("none"), planned("se"), planned("eca"))
    failures = [
        TaskEnded(task(runs[1]), "FAILED", "out of ideas", "mend the file"),
        TaskEnded(task(runs[2]), "KILLED", "gone"),
    ]
    *lines, last_line = sweep_summary.render_sweep_end(SweepPlan("s", runs), failures, RunStore(tmp_path)).splitlines()
    assert lines == [
        "s: 3 runs, 1 finished",
        "  failed: se, seed 0: out of ideas",
        f"    log: {tmp_path / runs[1].digest / 'output.log'}",
        "    hint: mend the file",
        "  killed: eca, seed 0: gone",
        f"    log: {tmp_path / runs[2].digest / 'output.log'}",
    ]
    assert "the same command" in last_line


def test_a_stop_is_no_failure() -> None:
    """What was stopped on the way is not listed, what failed before is."""
    runs = (planned("se"), planned("eca"))
    failures = [TaskEnded(task(runs[0]), "FAILED", "x"), TaskEnded(task(runs[1]), "KILLED", "stopped")]
    text = sweep_summary.render_sweep_end(
        SweepPlan("s", runs), failures, RunStore(Path("runs")), stopped="stopped by SIGINT"
    )
    assert text.startswith("s: stopped by SIGINT; the same command")
    assert "failed: se" in text
    assert "killed" not in text


def test_the_end_says_how_to_compare() -> None:
    """With the data set and backbone where there is one of each, and the folder where it is not the usual one."""
    runs = (planned("se"), planned("eca"))
    assert sweep_summary.render_sweep_end(SweepPlan("s", runs), [], RunStore(Path("runs"))).endswith(
        "Next: attncli compare --dataset digits --backbone resnet18"
    )
    assert sweep_summary.build_compare_command(SweepPlan("s", runs), RunStore(Path("a b"))).endswith("--runs 'a b'")
    assert sweep_summary.build_compare_command(SweepPlan("s", runs), RunStore(Path("runs")), "my s.yaml").endswith(
        "'my s.yaml'"
    )


def test_the_outcome_for_programs(tmp_path: Path) -> None:
    """Runs and failures as plain values."""
    runs = (planned("none", done=True), planned("se"))
    told = sweep_summary.build_sweep_dict(
        SweepPlan("s", runs), [TaskEnded(task(runs[1]), "FAILED", "x", "y")], tmp_path
    )
    assert json.loads(json.dumps(told)) == told
    assert [run["status"] for run in told["runs"]] == ["finished", "new"]
    assert told["failures"][0] | {"log": ""} == {
        "digest": runs[1].digest, "title": "se, seed 0", "status": "failed", "problem": "x", "hint": "y", "log": "",
    }  # fmt: skip
