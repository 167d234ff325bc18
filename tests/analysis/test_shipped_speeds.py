"""The speeds that attncli brings: what a record holds, how new ones replace old ones, and how they are shown."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from attncli.analysis import shipped_counts
from attncli.analysis.shipped_counts import PACKAGE
from attncli.analysis.shipped_speeds import SpeedRecord, make_speed_records, replace_speed_records
from attncli.records import Speed
from attncli.report.speeds import render_speeds
from tests.commands.line import line

MACHINE = {"cpu": "Some CPU", "usable_cpus": 2, "torch": "2.14.1", "gpu": None, "memory_bytes": 1}
NETWORK = "resnet20 32x32 10"


def speed(**values: Any) -> Speed:
    """A speed of three processes on a quiet machine."""
    figures: dict[str, Any] = {
        "train_images_per_s": 50.0, "baseline_train_images_per_s": 100.0, "train_ratio": 0.5, "train_ratio_low": 0.4,
        "train_ratio_high": 0.6, "infer_images_per_s": 90.0, "baseline_infer_images_per_s": 100.0, "infer_ratio": 0.9,
        "infer_ratio_low": 0.85, "infer_ratio_high": 0.95, "batch_size": 128, "repeats": 9, "precision": "fp32",
        "device": "cpu", "threads": 1, "measured_at": "2026-11-29T13:00:00+00:00", "cores_used_by_others": 0.02,
        "processes": 3,
    }  # fmt: skip
    return Speed(**{**figures, **values})


def records(attn: str = "se", code: str = "c0de", imported: str = "", **values: Any) -> list[SpeedRecord]:
    """Both records of such a speed."""
    return make_speed_records(NETWORK, attn, speed(**values), MACHINE, code, imported)


def test_each_phase_is_a_record() -> None:
    """With its ratio, interval and rates; the machine has the facts that decide a speed, and no others."""
    train, infer = records()
    assert (train.phase, train.ratio, train.low, train.high) == ("train", 0.5, 0.4, 0.6)
    assert (train.images_per_s, train.plain_images_per_s) == (50.0, 100.0)
    assert (infer.phase, infer.ratio, infer.low, infer.high) == ("infer", 0.9, 0.85, 0.95)
    assert train.machine == infer.machine == {"cpu": "Some CPU", "usable_cpus": 2, "torch": "2.14.1"}
    assert train.is_quiet
    assert not records(cores_used_by_others=0.5)[0].is_quiet


@pytest.mark.parametrize("values", [{"processes": 1}, {"measured_at": None}, {"cores_used_by_others": None}])
def test_a_speed_without_its_circumstances_is_refused(values: dict[str, Any]) -> None:
    """One process says nothing of the next."""
    with pytest.raises(ValueError, match="several processes"):
        records(**values)


def test_a_speed_is_of_the_code_that_was_timed() -> None:
    """The mechanism's own, and what it imports; a record that does not say the second is judged by the first."""
    [train, _] = records(code="own", imported="shared")
    assert train.is_of_code("own", "shared")
    assert not train.is_of_code("own", "changed")
    assert not train.is_of_code("changed", "shared")
    [older, _] = records(code="own")
    assert older.is_of_code("own", "shared")
    assert not older.is_of_code("changed", "shared")


def test_imported_code_is_what_a_mechanism_imports(tmp_path: Path) -> None:
    """A change in a shared module is one for all that import it, also by another module; a comment is none."""
    names = ("halo", "dyconv", "psa", "eca")

    def hash_changed(change: str, file_name: str) -> dict[str, str]:
        package = tmp_path / file_name / str(len(change)) / "attncli"
        shutil.copytree(PACKAGE / "attention", package / "attention", ignore=shutil.ignore_patterns("__pycache__"))
        file = package / "attention" / file_name
        file.write_text(f"{file.read_text()}\n{change}\n")
        return {name: shipped_counts.hash_imported_code(name, package) for name in names}

    known = {name: shipped_counts.hash_imported_code(name) for name in names}
    assert hash_changed("# a comment", "relative_attention.py") == known
    for file_name, importers in (
        ("relative_attention.py", {"halo"}),
        ("branch/condconv.py", {"dyconv"}),
        ("ops.py", {"halo", "dyconv", "eca"}),
    ):
        changed = hash_changed("MORE = 1", file_name)
        assert {name for name in names if changed[name] != known[name]} == importers


def test_a_new_speed_replaces_that_of_the_same_conditions() -> None:
    """Another number of threads or another mechanism is another speed."""
    old = [*records(), *records(threads=2), *records("eca")]
    merged = replace_speed_records(old, records(train_ratio=0.7))
    ratios = {(r.attn, r.threads): r.ratio for r in merged if r.phase == "train"}
    assert ratios == {("se", 1): 0.7, ("se", 2): 0.5, ("eca", 1): 0.5}
    assert len(merged) == 6


def test_cores_that_the_threads_did_not_use_make_no_other_conditions() -> None:
    """One thread on two cores or pinned to one: one table with one heading, and the new speed replaces the old."""
    pinned = [replace(record, machine={**record.machine, "usable_cpus": 1}) for record in records(train_ratio=0.7)]
    assert render_speeds([*records("eca"), *pinned], set(), 80).count("resnet20") == 1
    assert [r.ratio for r in replace_speed_records(records(), pinned) if r.phase == "train"] == [0.7]


def test_the_table_has_one_part_per_conditions_and_marks() -> None:
    """The fastest is first; busy machines and changed code are marked."""
    today, earlier = records("se", threads=2), [replace(r, mechanism_code="earlier") for r in records("se")]
    shown = [*earlier, *records("eca", train_ratio=0.8, cores_used_by_others=1.2), *today]
    text = render_speeds(shown, {("earlier", "")}, 80)
    assert text.count("95 % interval") == 4
    first = text[: text.index("2 threads")]
    assert [row.split()[0] for row in first.splitlines() if " to " in row and "0." in row] == ["eca+", "se~"]
    assert "se~" not in text[len(first) :]
    assert "0.80 0.40 to 0.60 0.90 0.85 to 0.95" in " ".join(first.split())


def test_the_command_shows_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a table or JSON, of one backbone or all; none is an error that says how to measure."""
    known = shipped_counts.read_shipped_overheads()
    assert known is not None
    monkeypatch.setattr(shipped_counts, "read_shipped_overheads", lambda: replace(known, speeds=tuple(records())))
    rows = line("results", "speeds", "--json").json()
    assert [(row["attn"], row["phase"], row["ratio"], row["is_quiet"]) for row in rows] == [
        ("se", "train", 0.5, True), ("se", "infer", 0.9, True),
    ]  # fmt: skip
    assert "0.40 to 0.60" in line("results", "speeds", "--backbone", "resnet20").out
    assert (
        line("results", "speeds", "--backbone", "resnet50").code,
        line("results", "speeds", "--backbone", "x").code,
    ) == (2, 2)
    assert line("results", "speeds", "--backbone", "resnet50", "--json").json() == []


def test_the_shipped_speeds_are_possible() -> None:
    """Of networks that the file counts, with the ratio in its interval, of several processes."""
    known = shipped_counts.read_shipped_overheads()
    assert known is not None
    for record in known.speeds:
        assert record.attn in known.counts[record.network]
        assert 0 < record.low <= record.ratio <= record.high, record
        assert record.processes >= 2
        assert 0.5 < record.ratio * record.plain_images_per_s / record.images_per_s < 2, record
