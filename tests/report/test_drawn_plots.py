"""A plot is drawn again only if it would show something else."""

from pathlib import Path

from attncli.report.drawn_plots import is_plot_current, make_plot_key, remember_plot


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


def test_a_damaged_memory_is_none(tmp_path: Path) -> None:
    """A file of another kind is as no file, and a folder that is gone is no error."""
    plot = tmp_path / "a.png"
    plot.write_bytes(b"png")
    (tmp_path / "compare-plots.json").write_text("[")
    assert not is_plot_current(plot, "key")
    remember_plot(tmp_path / "gone" / "a.png", "key")
    remember_plot(plot, "key")
    assert is_plot_current(plot, "key")
