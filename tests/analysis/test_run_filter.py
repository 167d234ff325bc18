"""Which runs a comparison shows: what a recipe sets, the runs of a sweep, and dates."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from attncli.analysis.compare import compare_variants
from attncli.analysis.run_filter import RunFilter, read_run_filter
from attncli.commands._task_comparison import compare_runs_over_tasks
from attncli.errors import UserError
from attncli.portable_runs import drop_image_paths
from attncli.runs import RunStore, read_finished_runs
from tests.analysis.case import finished
from tests.claims.case import run
from tests.commands import plugins


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


def test_tables_without_the_mechanism_are_not_shown(tmp_path: Path) -> None:
    """A plain network is shown as the baseline of a mechanism, or if it is named itself."""
    for attn, seed, lr in (("none", 0, 0.1), ("eca", 0, 0.1), ("none", 1, 0.3), ("se", 1, 0.3)):
        run(tmp_path, attn=attn, seed=seed, top1=0.5, train__lr=lr)
    assert _select(tmp_path, attn=["eca"]) == [("eca", 0.1), ("none", 0.1)]
    assert _select(tmp_path, attn=["none"]) == [("none", 0.1), ("none", 0.3)]
    assert len(_select(tmp_path)) == 4


@pytest.mark.parametrize("filters", [{"since": "yesterday"}, {"recipe": "cifr"}, {"sweep": "cifar"}])
def test_wrong_words_are_refused(filters: dict[str, str]) -> None:
    """A date that is none, an unknown recipe, a recipe in place of a sweep."""
    with pytest.raises(UserError):
        read_run_filter(**filters)  # type: ignore[arg-type]  # each a keyword of its own type


def test_a_sweep_is_chosen_also_if_the_code_of_another_run_is_gone(tmp_path: Path) -> None:
    """The run's record says of which group it is; its own file need not be there any more."""
    own = plugins.write(tmp_path / "mine.py")
    for attn in (own, "eca", "none"):
        run(tmp_path, attn=attn, seed=0, top1=0.5)
    base, sweep = tmp_path / "base.yaml", tmp_path / "one.yaml"
    base.write_text(next(r for r in read_finished_runs(RunStore(tmp_path)) if r.result.attn == "eca").recipe.to_yaml())
    sweep.write_text(f"recipe: {{base: {base}}}\naxes:\n  attn: [eca]\n  seeds: 1\n")
    (tmp_path / "mine.py").unlink()
    assert [attn for attn, _ in _select(tmp_path, sweep=sweep)] == ["eca", "none"]
    assert not read_run_filter(sweep=sweep, runs=tmp_path).selects(
        next(r for r in read_finished_runs(RunStore(tmp_path)) if r.recipe.model.attn == own)
    )


def test_a_sweep_on_ones_own_images_is_chosen_in_both_forms(tmp_path: Path) -> None:
    """Runs that were merged with those of others have the group of their recipe without the path of the images."""
    for name in ("rose", "tulip"):
        (folder := tmp_path / "flowers" / "train" / name).mkdir(parents=True)
        for number in range(4):
            Image.new("RGB", (8, 8), (number, 0, 0)).save(folder / f"{number}.png")
    recipe = run(tmp_path, attn="eca", seed=0, top1=0.5, data__name="folder", data__root=str(tmp_path / "flowers"))
    base, sweep = tmp_path / "base.yaml", tmp_path / "one.yaml"
    base.write_text(recipe.to_yaml())
    sweep.write_text(f"recipe: {{base: {base}}}\naxes:\n  attn: [eca]\n  seeds: 1\n")
    [own] = read_finished_runs(RunStore(tmp_path))
    run_filter = read_run_filter(sweep=sweep, runs=tmp_path)
    assert run_filter.selects(own)
    assert run_filter.selects(drop_image_paths(own))


def test_over_tasks_a_variant_is_chosen_with_all_its_runs(tmp_path: Path) -> None:
    """A plain network that was trained before the date is subtracted as in the comparison of one task."""
    runs = [
        replace(finished(attn, seed, 0.8 + 0.02 * (attn == "eca"), data=dataset * 64), dataset=dataset, started_ms=day)
        for dataset in "ab"
        for attn, day in (("none", 1000), ("se", 1000), ("eca", 3000))
        for seed in range(3)
    ]
    comparison = compare_runs_over_tasks(runs, [], ["dataset"], RunFilter(since_ms=2000))
    assert [(summary.variant, summary.mean_rank) for summary in comparison.variants] == [("eca", 1.0), ("none", 2.0)]
    later = [
        replace(one, started_ms=3000 if (one.result.attn, one.recipe.seed) == ("se", 2) else one.started_ms)
        for one in runs
    ]
    comparison = compare_runs_over_tasks(later, [], ["dataset"], RunFilter(since_ms=2000))
    assert {summary.variant: summary.iqm for summary in comparison.variants} == pytest.approx(
        {"eca": 0.02, "se": 0.0, "none": 0.0}
    )
