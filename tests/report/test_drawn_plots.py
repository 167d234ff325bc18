"""A plot is drawn again only if it would show something else."""

from dataclasses import replace
from pathlib import Path

import pytest

from attncli import track
from attncli.analysis.compare import compare_variants
from attncli.commands._comparison_plots import draw_plots
from attncli.report.drawn_plots import is_plot_current, make_plot_key, remember_plot
from attncli.track import RunStore
from attncli.track.database import DEFAULT_NAME
from tests.analysis.case import finished


def test_a_plot_is_current_until_its_figures_change(tmp_path: Path) -> None:
    """Another figure, cost or store, or a deleted file, makes it be drawn again; other plots are kept."""
    plot, rows = tmp_path / "a.png", [{"variant": "eca", "top1": 0.9, "seeds": (0, 1)}]
    key = make_plot_key(rows, "params", "store")
    assert not is_plot_current(plot, key)
    plot.write_bytes(b"png")
    remember_plot(plot, key)
    remember_plot(tmp_path / "b.png", "other")
    assert is_plot_current(plot, key)
    others = [make_plot_key([{**rows[0], "top1": 0.8}], "params", "store"), make_plot_key(rows, "macs", "store")]
    assert not any(is_plot_current(plot, other) for other in others)
    plot.unlink()
    assert not is_plot_current(plot, key)


def test_a_plot_is_added_to_the_experiments_of_its_own_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where two runs that MLflow does not have are of one recipe: their digests are the same."""
    runs = [
        replace(finished(attn, seed, 0.8 + 0.01 * seed, run_id=""), experiment=f"{attn}-{seed}")
        for attn in ("none", "eca")
        for seed in (0, 1)
    ]
    twins = [replace(run, experiment=f"twin-{run.experiment}") for run in runs]
    rows = compare_variants(runs)
    attached: list[str] = []
    monkeypatch.setattr(track, "attach_to_experiment", lambda files, experiment, **_: attached.append(experiment))
    monkeypatch.setattr("attncli.report.cost_figures.draw_pareto", lambda rows, file, cost: file.write_bytes(b"png"))
    twin_rows = [replace(row, runs=tuple(run for run in twins if run.result.attn == row.attn)) for row in rows]
    draw_plots(rows, "params", RunStore(tmp_path, None), (), "pdf", is_tracked=True)
    assert attached == [], "there is no store yet, and a plot makes none"
    (tmp_path / DEFAULT_NAME).touch()
    for shown_rows in (rows, twin_rows):
        draw_plots(shown_rows, "params", RunStore(tmp_path, None), (), "png", is_tracked=True)
    expected = ["eca-0", "eca-1", "none-0", "none-1"]
    assert attached == [*expected, *(f"twin-{name}" for name in expected)]
    attached.clear()
    draw_plots(rows, "params", RunStore(tmp_path, None), (), "svg", is_tracked=False)
    assert attached == []


def test_a_damaged_memory_is_none(tmp_path: Path) -> None:
    """A file of another kind is as no file, and a folder that is gone is no error."""
    plot = tmp_path / "a.png"
    plot.write_bytes(b"png")
    (tmp_path / "compare-plots.json").write_text("[")
    assert not is_plot_current(plot, "key")
    remember_plot(tmp_path / "gone" / "a.png", "key")
    remember_plot(plot, "key")
    assert is_plot_current(plot, "key")
