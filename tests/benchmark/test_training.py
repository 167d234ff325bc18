"""The bench of training: contenders that do the same work, turns, ratios, the history."""

import json
import math
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from attncli.benchmark import contenders, history, results, training, training_loops, turns, worker_process
from attncli.benchmark.training_loops import BenchSetting
from attncli.errors import RunFailedError, UserError

ONE_BATCH = BenchSetting("resnet20", "eca", batch_size=16, steps=1, pad=0, flip=False)


def test_contenders_compute_the_same_losses(tmp_path: Path, monkeypatch) -> None:
    """On one batch without augmentation the losses of three epochs agree: same weights, images and optimiser."""
    monkeypatch.setattr("attncli.benchmark.dataloader_baseline.count_loader_workers", lambda: 1)
    found = {}
    for name in contenders.CONTENDERS:
        epoch = contenders.choose_contender(name)(ONE_BATCH, tmp_path)
        found[name] = [epoch() for _ in range(3)]
    assert found["usual"][0] > found["usual"][2]
    for name, losses in found.items():
        assert losses == pytest.approx(found["usual"], rel=5e-3), name


def test_ours_writes_its_records(tmp_path: Path) -> None:
    """The bench times logging too: a line an epoch."""
    epoch = training_loops.build_attncli_loop(ONE_BATCH, tmp_path)
    losses = [epoch(), epoch()]
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [line["train_loss"] for line in lines] == losses


def test_bare_loop_goes_through_all_images_once() -> None:
    """Without augmentation an epoch of the bare loop is a permutation of the images, normalised."""
    setting = BenchSetting("resnet20", "none", batch_size=4, steps=3, size=8, pad=0, flip=False)
    split = setting.make_images()
    batches = list(
        training_loops._iterate_crops(
            setting, training_loops._crop_windows(setting, torch.device("cpu")), torch.arange(12)
        )
    )
    assert [len(x) for x, _ in batches] == [4, 4, 4]
    rows = torch.cat([y for _, y in batches])
    assert rows.sort().values.tolist() == list(range(12))
    wanted = (split.images[rows].float() / 255 - 0.5) / 0.25
    torch.testing.assert_close(torch.cat([x for x, _ in batches]), wanted)


def test_bare_loop_crops_and_mirrors() -> None:
    """Each image of the bare loop is a window of the image padded with zeros, mirrored or not."""
    setting = BenchSetting("resnet20", "none", batch_size=6, steps=1, size=5, pad=2)
    images = setting.make_images().images.float()
    padded = torch.nn.functional.pad(images, (2, 2, 2, 2))
    windows = padded.unfold(2, 5, 1).unfold(3, 5, 1).movedim(1, 3).flatten(1, 2)  # (n, 25, 3, 5, 5)
    both = torch.cat([windows, windows.flip(-1)], 1)
    torch.manual_seed(1)
    ((x, rows),) = training_loops._iterate_crops(
        setting, training_loops._crop_windows(setting, torch.device("cpu")), torch.arange(6)
    )
    seen = ((x * 0.25 + 0.5) * 255).round()
    assert (both[rows] == seen[:, None]).flatten(2).all(2).any(1).all()


def test_every_contender_has_turns_and_who_begins_rotates() -> None:
    """Each round has one turn of each; the first of a round is the second of the round before."""
    order: list[str] = []

    def turn(name: str) -> float:
        order.append(name)
        return float(len(order))

    rounds = list(turns.iterate_rounds({name: lambda name=name: turn(name) for name in "abc"}, 4))
    assert "".join(order) == "abcbcacababc"
    assert all(r.keys() == set("abc") for r in rounds)
    assert rounds[1] == {"b": 4.0, "c": 5.0, "a": 6.0}


@pytest.mark.parametrize(
    ("ends_at", "wanted"),
    [((math.inf, math.inf), 4), ((19.0, math.inf), 3), ((0.0, math.inf), 1), ((math.inf, 8.5), 1), ((0.0, 3.0), 0)],
)
def test_rounds_end_with_the_time(ends_at: tuple[float, float], wanted: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Turns of 3 s: a round that would not end in time does not start, but the first; no turn starts after the end."""
    clock = [0.0]
    monkeypatch.setattr(turns.time, "monotonic", lambda: clock[0])

    def turn() -> float:
        clock[0] += 3
        return 3.0

    assert len(list(turns.iterate_rounds({"ours": turn, "bare": turn}, 4, ends_at))) == wanted


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Contenders that take a second to start and one per turn, on a clock of their own; Ctrl-C comes at second 20."""
    clock = [0.0]

    @contextmanager
    def process(name: str, setting: BenchSetting) -> Iterator[Callable[[], float]]:
        def turn() -> float:
            clock[0] += 1
            if clock[0] == 20:
                raise KeyboardInterrupt
            return 1.0

        clock[0] += 1
        yield turn

    monkeypatch.setattr(turns.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(turns, "contender_process", process)
    return clock


def test_networks_share_the_time(stage: list[float]) -> None:
    """Of 19 s the first network gets 6, the second half of what is left; what got no round is named."""
    lines: list[str] = []
    settings = training.make_settings(["resnet20"], ["none", "eca", "se"], 8, None)
    rows = training.bench_training(settings, turns.BenchLimit(5, 19.0), ["bare"], lines.append)
    assert [(row.attn, row.rounds) for row in rows] == [("none", 2), ("eca", 2), ("se", 2)]
    assert stage[0] == 18
    stage[0] = 0.0
    rows = training.bench_training(settings, turns.BenchLimit(1, 9.0), ["bare"], lines.append)
    assert [row.attn for row in rows] == ["none", "eca"]
    assert "resnet20 se" in lines[-1]


def test_what_ctrl_c_interrupts_is_shown(stage: list[float]) -> None:
    """The rounds that are complete make a row, then the interrupt goes on."""
    rows = training.bench_training([BenchSetting("resnet20", "none")], turns.BenchLimit(99, math.inf), ["bare"])
    assert next(rows).rounds == 8
    with pytest.raises(KeyboardInterrupt):
        next(rows)


def test_the_rounds_before_a_contender_dies_are_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """They make a row, then the error goes on; later networks have no turn."""

    @contextmanager
    def process(name: str, setting: BenchSetting) -> Iterator[Callable[[], float]]:
        seconds = iter([1.0, 1.0])

        def turn() -> float:
            if value := next(seconds, None):
                return value
            raise RunFailedError("bench: it ended", "is there enough memory?")

        yield turn

    monkeypatch.setattr(turns, "contender_process", process)
    rows = training.bench_training(
        [BenchSetting("resnet20", attn) for attn in ("none", "eca")], turns.BenchLimit(9, math.inf), ["bare"]
    )
    assert next(rows).rounds == 2
    with pytest.raises(RunFailedError):
        next(rows)


def test_ratios_are_taken_by_round() -> None:
    """A machine that gets twice as slow half-way changes the throughput but no ratio."""
    rounds = [{"ours": s, "bare": 0.9 * s, "usual": 3 * s} for s in (1.0, 1.0, 2.0, 2.0)]
    row = results.summarize_rounds(BenchSetting("resnet20", "none", batch_size=10, steps=3), rounds)
    assert row.ratios == {"bare": pytest.approx([0.9] * 3), "usual": pytest.approx([3.0] * 3)}
    assert row.images_per_s["ours"] == pytest.approx(30 / 1.5)
    cells = results.format_training_row(row)
    assert cells["x usual"] == "3.00 (3.00-3.00)"
    assert "since then" not in cells


@pytest.mark.parametrize(("step_s", "steps"), [(0.5, 6), (0.0005, 200), (9.0, 2)])
def test_a_turn_takes_about_three_seconds(step_s: float, steps: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the step of the plain network, in a process of its own; all mechanisms of a backbone have as many."""
    durations = iter([2 * step_s, step_s] * 2)
    timed = []

    @contextmanager
    def process(name: str, setting: BenchSetting) -> Iterator[Callable[[], float]]:
        timed.append((name, setting.backbone, setting.attn, setting.steps, setting.batch_size))
        yield lambda: next(durations)

    monkeypatch.setattr(training, "contender_process", process)
    settings = training.make_settings(["resnet20", "resnet50"], ["eca", "se"], None, None)
    assert timed == [("bare", "resnet20", "none", 1, 128), ("bare", "resnet50", "none", 1, 32)]
    assert [s.attn for s in settings] == ["eca", "se"] * 2
    assert {s.steps for s in settings} == {steps}


def test_given_steps_and_batches_hold_for_all() -> None:
    """Nothing is timed for them; of what is not given, large networks get smaller batches."""
    assert {(s.steps, s.batch_size) for s in training.make_settings(["resnet20", "resnet50"], ["se"], 2, 4)} == {(2, 4)}
    assert [s.batch_size for s in training.make_settings(["resnet20", "resnet50"], ["none"], 2, None)] == [128, 32]


ECHO = "import sys, json\nfor i, line in enumerate(sys.stdin): print(json.dumps({'seconds': i + 0.5}), flush=True)"


def test_a_process_answers_each_turn_and_ends() -> None:
    """A line for a line, and the process is gone after the block."""
    with worker_process.answering_process("echo", [sys.executable, "-c", ECHO]) as turn:
        assert [turn()["seconds"], turn()["seconds"]] == [0.5, 1.5]


def test_a_contender_that_dies_tells_why() -> None:
    """The last line that it wrote to stderr is in the error."""
    code = "import sys; sys.stdin.readline(); sys.exit('out of luck')"
    with (
        worker_process.answering_process("usual", [sys.executable, "-c", code]) as turn,
        pytest.raises(RunFailedError) as caught,
    ):
        turn()
    assert caught.value.problem == "bench: 'usual' ended: out of luck"


def test_a_contender_in_its_process() -> None:
    """The real thing: built, warm, and it tells how long an epoch took."""
    with contenders.contender_process(
        "bare", BenchSetting("resnet20", "none", batch_size=2, steps=1, size=8, pad=1)
    ) as turn:
        assert turn() > 0


def test_history_keeps_and_finds(tmp_path: Path) -> None:
    """Entries are added; the last of a kind is found; a row is found by its keys."""
    file = tmp_path / "deep" / "bench.jsonl"
    for kind, rows in (("train", [{"attn": "a"}]), ("train", [{"attn": "a", "n": 1}, {"attn": "b"}]), ("data", [])):
        history.append_entry(file, {"kind": kind, "rows": rows})
    assert len(file.read_text().splitlines()) == 3
    rows = history.read_last_entry(file, "train")["rows"]
    assert history.find_earlier_row(rows, {"attn": "a"}, ["attn"]) == {"attn": "a", "n": 1}
    assert history.find_earlier_row(rows, {"attn": "c"}, ["attn"]) is None


def test_history_that_is_none(tmp_path: Path) -> None:
    """A missing file, another kind of file and a file without the kind are told."""
    file = tmp_path / "bench.jsonl"
    with pytest.raises(UserError, match="No such file"):
        history.read_last_entry(file, "train")
    file.write_text("not json\n")
    with pytest.raises(UserError, match="not a file of JSON lines"):
        history.read_last_entry(file, "train")
    file.write_text('{"kind": "data"}\n')
    with pytest.raises(UserError, match="no bench of kind 'train'"):
        history.read_last_entry(file, "train")
    with pytest.raises(UserError, match="--history"):
        raise_from_keep(file)


def raise_from_keep(file: Path) -> None:
    """Keep an entry below a file, which is no folder."""
    try:
        history.append_entry(file / "x.jsonl", {})
    except UserError as error:
        raise UserError(f"{error.problem} {error.hint}") from error


@pytest.mark.parametrize(
    ("now", "verdict"), [([0.80, 0.85, 0.89], "slower"), ([0.85, 0.92, 0.97], "same"), ([1.2, 1.3, 1.4], "faster")]
)
def test_a_change_counts_where_quartiles_do_not_overlap(now: list[float], verdict: str) -> None:
    """Slower or faster only outside of the spread of both benches."""
    factor, told = history.compare_spreads(now, [0.9, 1.0, 1.1])
    assert (factor, told) == (pytest.approx(now[1]), verdict)


def test_cells_tell_the_change() -> None:
    """With an earlier row, each rival that both have gets its change; a verdict if both have three rounds."""
    rounds = [{"ours": 1.0, "bare": 0.9, "usual": 3.0}] * 3
    for count, earlier_count, text in ((3, 3, "bare -10.0% slower"), (2, 3, "bare -10.0%"), (3, 2, "bare -10.0%")):
        row = results.summarize_rounds(BenchSetting("resnet20", "none"), rounds[:count])
        cells = results.format_training_row(row, {"rounds": earlier_count, "ratios": {"bare": [0.97, 1.0, 1.03]}})
        assert cells["since then"] == text
