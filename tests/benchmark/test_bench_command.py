"""`attncli bench`: what is printed and what is kept, with benches that are over at once."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from attncli.benchmark import blocks, data_loading, evaluation, results, startup, training
from attncli.benchmark.training_loops import BenchSetting
from attncli.benchmark.turns import BenchLimit
from attncli.commands.bench import command
from attncli.errors import RunFailedError, UserError

SECONDS = {"ours": 1.0, "bare": 0.98, "usual": 3.0, "usual-bf16": 1.5}


def bench(*words: str) -> Result:
    """`attncli bench WORDS`; an error of the bench is raised."""
    return CliRunner().invoke(command, words, catch_exceptions=False)


@pytest.fixture
def quick(monkeypatch) -> dict[str, float]:
    """Contenders that take these seconds, which a test may change."""
    seconds = dict(SECONDS)

    def found(wanted: list[BenchSetting], limit: BenchLimit, rivals: list[str], report: object):
        for setting in wanted:
            yield results.summarize_rounds(
                setting, [{k: v for k, v in seconds.items() if k in ("ours", *rivals)}] * limit.rounds
            )

    monkeypatch.setattr(training, "bench_training", found)
    monkeypatch.setattr(training, "choose_steps", lambda setting: 8)
    return seconds


def test_training_is_kept_and_compared(tmp_path: Path, quick: dict[str, float]) -> None:
    """Every bench adds a line to the history; against an earlier one each ratio has its change and verdict."""
    history = str(tmp_path / "h.jsonl")
    first = bench("train", "--backbone", "resnet20", "--attn", "none,eca", "--history", history)
    assert first.exit_code == 0
    assert "since then" not in first.stdout
    quick["bare"] = 0.49
    second = bench("train", "--backbone", "resnet20", "--attn", "eca", "--history", history, "--against", history)
    assert "bare -50.0% slower" in second.stderr
    assert "since then" in second.stdout
    kept = [json.loads(text) for text in Path(history).read_text().splitlines()]
    assert [len(entry["rows"]) for entry in kept] == [2, 1]
    assert {"kind", "time", "machine", "rows"} <= kept[0].keys()


def test_training_as_json(tmp_path: Path, quick: dict[str, float]) -> None:
    """Rows with ratios by rival and nothing else on stdout; limits hold."""
    done = bench(
        "train", "--backbone", "resnet18", "--attn", "se", "--rivals", "bare", "--rounds", "2", "--steps", "3",
        "--batch-size", "16", "--json", "--history", str(tmp_path / "h.jsonl"),
    )  # fmt: skip
    (row,) = json.loads(done.stdout)
    assert (row["backbone"], row["attn"], row["batch_size"], row["steps"], row["rounds"]) == (
        "resnet18",
        "se",
        16,
        3,
        2,
    )
    assert row["ratios"] == {"bare": [0.98, 0.98, 0.98]}


def test_evaluation_is_kept_and_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own kind in the history, which the same options find again."""
    seconds = {"ours": 1.0, "infer": 0.95}

    def found(wanted: list[BenchSetting], limit: BenchLimit, report: object):
        return iter([results.summarize_rounds(setting, [seconds] * limit.rounds) for setting in wanted])

    monkeypatch.setattr(evaluation, "bench_evaluation", found)
    history = str(tmp_path / "h.jsonl")
    words = ("eval", "--backbone", "resnet20", "--attn", "none", "--steps", "2", "--history", history)
    assert "0.95 (0.95-0.95)" in bench(*words).stdout
    seconds["infer"] = 0.475
    assert "infer -50.0% slower" in bench(*words, "--against", history).stdout
    assert [json.loads(text)["kind"] for text in Path(history).read_text().splitlines()] == ["eval", "eval"]


def test_what_was_measured_before_ctrl_c_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is printed and stands in the history; the exit code is that of Ctrl-C. A row in no time is a failure."""

    def interrupted(wanted: list[BenchSetting], *rest: object):
        yield results.summarize_rounds(wanted[0], [SECONDS])
        raise KeyboardInterrupt

    monkeypatch.setattr(training, "bench_training", interrupted)
    history = tmp_path / "h.jsonl"
    stopped = bench("train", "--steps", "2", "--json", "--history", str(history))
    assert stopped.exit_code == 130
    assert [row["rounds"] for row in json.loads(stopped.stdout)] == [1]
    assert len(json.loads(history.read_text())["rows"]) == 1
    monkeypatch.setattr(training, "bench_training", lambda *given: iter(()))
    with pytest.raises(RunFailedError):
        bench("train", "--steps", "2", "--minutes", "0.01", "--history", str(history))


def test_what_was_measured_before_a_contender_died_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is printed and stands in the history, then comes the error."""

    def end_early(wanted: list[BenchSetting], *rest: object):
        yield results.summarize_rounds(wanted[0], [SECONDS])
        raise RunFailedError("bench: 'usual' ended", "is there enough memory?")

    monkeypatch.setattr(training, "bench_training", end_early)
    history = tmp_path / "h.jsonl"
    words = ("train", "--backbone", "resnet20", "--steps", "2", "--json", "--history", str(history))
    stopped = CliRunner().invoke(command, words)
    assert isinstance(stopped.exception, RunFailedError)
    assert [row["rounds"] for row in json.loads(stopped.stdout)] == [1]
    assert len(json.loads(history.read_text())["rows"]) == 1


@pytest.fixture
def untimed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A test that times the step of a network fails."""
    monkeypatch.setattr(training, "choose_steps", lambda setting: pytest.fail(f"{setting.backbone} was timed"))


@pytest.mark.usefixtures("untimed")
@pytest.mark.parametrize("kind", ["train", "eval"])
def test_a_file_without_such_a_bench_is_told(tmp_path: Path, kind: str) -> None:
    """Before anything runs."""
    (tmp_path / "h.jsonl").write_text('{"kind": "data"}\n')
    with pytest.raises(UserError, match=f"no bench of kind '{kind}'"):
        bench(kind, "--against", str(tmp_path / "h.jsonl"))


@pytest.mark.usefixtures("untimed")
def test_an_unknown_rival_is_told() -> None:
    """The nearest name is in the hint, before anything runs."""
    with pytest.raises(UserError, match="unknown rival: 'usuall'") as caught:
        bench("train", "--rivals", "usuall")
    assert "'usual'" in caught.value.hint


def test_data_makes_its_own_folder(tmp_path: Path, monkeypatch) -> None:
    """Without a folder one of noise is made, which is gone afterwards; the rows are kept."""
    used = []

    def found(root: Path, size: int, batch_size: int, rounds: int, *, resized: bool) -> list[data_loading.DataBenchRow]:
        used.append(root)
        assert (root / "train").is_dir()
        assert not resized
        answer = {"images": 10, "own": 1 << 20, "resident": 2 << 20}
        return [
            data_loading.summarize_way(way, answer, [dict.fromkeys(data_loading.WAYS, 0.1)])
            for way in data_loading.WAYS
        ]

    monkeypatch.setattr(data_loading, "bench_data_loading", found)
    done = bench("data", "--history", str(tmp_path / "h.jsonl"))
    assert done.exit_code == 0
    assert not used[0].exists()
    assert [row["way"] for row in json.loads((tmp_path / "h.jsonl").read_text())["rows"]] == list(data_loading.WAYS)


def test_start_tells_parts_and_imports(tmp_path: Path, monkeypatch) -> None:
    """Median and quartiles of each part of a run, and the packages that are slowest to import."""
    runs = [startup.StartupTiming(to_training_s=t, training_s=1.0, to_exit_s=0.5, cpu_s=4.0) for t in (3.0, 4.0, 8.0)]
    monkeypatch.setattr(startup, "bench_startup", lambda runs_folder, rounds: iter(runs))
    monkeypatch.setattr(startup, "time_imports", lambda runs_folder: {"torch": 1.25, "mlflow": 0.75})
    done = bench("start", "--json", "--history", str(tmp_path / "h.jsonl"))
    told = json.loads(done.stdout)
    assert told["parts"][0] == {"part": "to_training_s", "seconds": [3.5, 4.0, 6.0]}
    assert list(told["imports"]) == ["torch", "mlflow"]
    text = bench("start", "--history", str(tmp_path / "h.jsonl")).stdout
    assert "4.00 s" in text
    assert "1.25" in text


def test_blocks_fit_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """The longest names stand on one line of 80 columns; a pipe gets the references and no line for each block."""
    shape = (64, 64, 32, 32)
    found = [
        blocks.ReferenceTiming(shape=shape, precision="bf16", conv_ms=30.0, floor_ms=0.2, copy_gb_per_s=90.0),
        *(
            blocks.BlockTiming(
                attn=name, category="channel_spatial", shape=shape, precision="bf16", ms=6014.1, conv_ratio=108.0,
                floor_ratio=21983.1, timm_ratio=1.04,
            )
            for name in blocks.list_block_mechanisms()
        ),
    ]  # fmt: skip
    monkeypatch.setattr(blocks, "bench_blocks", lambda *_, **__: iter(found))
    monkeypatch.setenv("COLUMNS", "80")
    done = bench("blocks")
    lines = done.stdout.strip().splitlines()
    assert len(lines) == 2 + len(blocks.list_block_mechanisms())
    assert max(map(len, lines)) <= 80
    assert any(
        line.split() == ["self-attention", "64x64x32x32", "bf16", "6014.10", "108.00", "21983.1", "1.04"]
        for line in lines
    )
    assert len(done.stderr.splitlines()) == 1
