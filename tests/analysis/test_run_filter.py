"""Which runs a comparison shows: what a recipe sets, the runs of a sweep, and dates."""

from pathlib import Path
from typing import Any

import pytest

from attncli.analysis.compare import compare_variants
from attncli.analysis.run_filter import read_run_filter
from attncli.errors import UserError
from attncli.runs import RunStore, read_finished_runs
from tests.claims.case import run


def _select(tmp_path: Path, **filters: Any) -> list[tuple[str, float]]:
    """The mechanism and learning rate of each row that is shown."""
    runs = read_finished_runs(RunStore(tmp_path))
    run_filter = read_run_filter(**filters, runs=tmp_path)
    rows = run_filter.select_rows(compare_variants(runs))
    by_reference = {run.reference: run.recipe.train.lr for run in runs}
    return sorted((row.attn, by_reference[row.run_ids[0]]) for row in rows)


def test_recipe_sweep_and_date_choose_the_rows(tmp_path: Path) -> None:
    """With the plain network of each table; the network, the dataset and the seed of a recipe do not count."""
    for seed, lr in ((0, 0.1), (1, 0.1), (2, 0.3), (3, 0.3)):
        for attn in ("eca", "none"):
            run(tmp_path, attn=attn, seed=seed, top1=0.5, train__lr=lr)
    files = {name: tmp_path / f"{name}.yaml" for name in ("slow", "one")}
    files["slow"].write_text("model: {backbone: resnet18, attn: se}\ntrain: {lr: 0.1}\nseed: 5\n")
    any_run = read_finished_runs(RunStore(tmp_path))[0].recipe
    lines = [f"{key}: {value!r}" for key, value in (("attn", ["eca"]), ("train.lr", [0.3]), ("seeds", 1))]
    base = tmp_path / "base.yaml"
    base.write_text(any_run.to_yaml())
    files["one"].write_text(f"recipe: {{base: {base}}}\naxes:\n  " + "\n  ".join(lines) + "\n")
    assert _select(tmp_path, recipe=files["slow"]) == [("eca", 0.1), ("none", 0.1)]
    assert _select(tmp_path, sweep=files["one"]) == [("eca", 0.3), ("none", 0.3)]
    runs = read_finished_runs(RunStore(tmp_path))
    files["slow"].write_text("train: {lr: 0.1, epochs: 99}\n")
    for filters, hint in (({"recipe": files["slow"]}, "train.epochs"), ({"since": "2200-01-01"}, "the latest began")):
        with pytest.raises(UserError) as caught:
            read_run_filter(**filters).refuse_unknown_names(runs)
        assert hint in caught.value.hint


@pytest.mark.parametrize("filters", [{"since": "yesterday"}, {"recipe": "cifr"}, {"sweep": "cifar"}])
def test_wrong_words_are_refused(filters: dict[str, str]) -> None:
    """A date that is none, an unknown recipe, a recipe in place of a sweep."""
    with pytest.raises(UserError):
        read_run_filter(**filters)  # type: ignore[arg-type]  # each a keyword of its own type
