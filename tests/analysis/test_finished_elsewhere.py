"""A sweep continues from a file of results: which runs count as finished, and which are trained again."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from attncli.analysis.finished_elsewhere import Conditions, list_conditions, mark_finished_elsewhere
from attncli.jobs.plan import SweepPlan, plan_recipes
from attncli.recipe import Recipe
from attncli.records import RESULT, read_result
from attncli.result_files import export_results, imported_results
from attncli.runs import read_folder_runs
from tests.claims.case import run
from tests.commands import plugins
from tests.commands.line import line

ZEN, GPU = {"cpu": "zen", "torch": "2.14.1"}, {"cpu": "zen", "gpu": "H200", "torch": "2.14.1"}


def write_run(
    folder: Path, attn: str, seed: int, *, device: str = "cpu", code: str = "aaaa/", **keys: object
) -> Recipe:
    """A finished run on a machine, with the code of its training."""
    recipe = run(folder, attn=attn, seed=seed, top1=0.5, **{"data__name": "cifar10"} | keys)
    place = folder / recipe.compute_digest()
    result = read_result(place)
    assert result is not None
    machine = ZEN if device == "cpu" else GPU
    precision = str(keys.get("train__precision", result.precision))
    text = json.dumps(asdict(replace(result, machine=machine, device=device, code=code, precision=precision)))
    (place / RESULT).write_text(text)
    return recipe


def plan_with(tmp_path: Path, recipes: list[Recipe], here: str = "cpu") -> list[tuple[str, int]]:
    """What is left of a plan, as (mechanism, seed), with the runs of the folder `theirs` as a file."""
    file = tmp_path / "theirs.results"
    export_results(list(read_folder_runs(tmp_path / "theirs")), file)
    if not (tmp_path / "here").exists():
        write_run(tmp_path / "here", "none", 0, device=here)
    result = next(read_folder_runs(tmp_path / "here")).result

    def describe_here(recipe: Recipe) -> Conditions:
        return list_conditions(result)

    own = plan_recipes("sweep", recipes, runs=tmp_path / "own")
    with imported_results([file]) as others:
        plan: SweepPlan = mark_finished_elsewhere(own, others, tmp_path / "own", describe_here)
    pairs = zip(plan.runs, own.runs, strict=True)
    assert all(r.is_elsewhere == (r.is_finished and not own_run.is_finished) for r, own_run in pairs)
    return [(r.recipe.model.attn, r.recipe.seed) for r in plan.unfinished_runs]


@pytest.mark.parametrize(("here", "left"), [("cpu", [("none", 1), ("eca", 1)]), ("cuda", [("eca", 1)])])
def test_a_complete_seed_counts_wherever_it_was_trained(tmp_path: Path, here: str, left: list[tuple[str, int]]) -> None:
    """Seed 0 is complete on a GPU. Of seed 1 only the plain network is there: a GPU like that one can complete it."""
    recipes = [write_run(tmp_path / "theirs", attn, 0, device="cuda") for attn in ("none", "eca")]
    recipes.append(write_run(tmp_path / "theirs", "none", 1, device="cuda"))
    recipes.append(write_run(tmp_path / "planned", "eca", 1))
    assert plan_with(tmp_path, recipes, here) == left


@pytest.mark.parametrize(("code", "left"), [("aaaa/", [("eca", 0)]), ("bbbb/", [("none", 0), ("eca", 0)])])
def test_an_incomplete_seed_counts_under_the_conditions_here(
    tmp_path: Path, code: str, left: list[tuple[str, int]]
) -> None:
    """The plain network was trained on such a machine: it counts if the code was that of today."""
    recipes = [write_run(tmp_path / "theirs", "none", 0, code=code), write_run(tmp_path / "planned", "eca", 0)]
    assert plan_with(tmp_path, recipes) == left


def test_own_and_other_runs_complete_a_seed_together(tmp_path: Path) -> None:
    """What is finished here stays, and the rest comes from the file; a machine of another kind completes nothing."""
    recipes = [write_run(tmp_path / "own", "none", 0), write_run(tmp_path / "theirs", "eca", 0)]
    assert plan_with(tmp_path, recipes, here="cuda") == []


def test_each_precision_of_a_sweep_is_complete_by_itself(tmp_path: Path) -> None:
    """Runs in fp32 and in bf16 are no pairs, and none of them has to be trained again for the sake of the others."""
    recipes = [
        write_run(tmp_path / "theirs", attn, 0, device="cuda", train__precision=precision)
        for precision in ("fp32", "bf16")
        for attn in ("none", "eca")
    ]
    assert plan_with(tmp_path, recipes) == []


def test_images_of_ones_own_must_be_the_same(tmp_path: Path) -> None:
    """Runs on a folder count under another path if the images are the same; other images, or none, do not."""
    theirs = [write_run(tmp_path / "theirs", attn, 0, data__name="folder", data__root="/theirs", data_digest="d" * 64)
              for attn in ("none", "eca")]  # fmt: skip
    here = [r.model_copy(update={"data": r.data.model_copy(update={"root": "/here"})}) for r in theirs]
    for digest, left in (("d" * 64, []), ("e" * 64, ["none", "eca"]), (None, ["none", "eca"])):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("attncli.analysis.finished_elsewhere.cache_digests", lambda d=digest: lambda *_, cache: d)
            assert [attn for attn, _ in plan_with(tmp_path, here)] == left


def test_code_that_changed_completes_nothing(tmp_path: Path) -> None:
    """A run of a user's mechanism counts while the file here has the code that it was trained with."""
    code = plugins.write(tmp_path / "mine.py")
    recipe = write_run(tmp_path / "theirs", code, 0)
    assert plan_with(tmp_path, [recipe]) == []
    plugins.write(tmp_path / "mine.py", "x")
    assert plan_with(tmp_path, [recipe]) == [(code, 0)]
    (tmp_path / "mine.py").unlink()
    with imported_results([tmp_path / "theirs.results"]) as others:
        assert mark_finished_elsewhere(SweepPlan("sweep", ()), others, tmp_path / "own").runs == ()


def test_code_on_ones_own_images_that_changed_completes_nothing(tmp_path: Path) -> None:
    """The file of results says by which code a run was trained, and not which code its author has now."""
    code = plugins.write(tmp_path / "mine.py")
    recipe = write_run(tmp_path / "theirs", code, 0, data__name="folder", data__root="/theirs", data_digest="d" * 64)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("attncli.analysis.finished_elsewhere.cache_digests", lambda: lambda *_, cache: "d" * 64)
        assert plan_with(tmp_path, [recipe]) == []
        plugins.write(tmp_path / "mine.py", "x")
        assert plan_with(tmp_path, [recipe]) == [(code, 0)]


def test_the_plan_of_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`sweep --with FILE --dry-run`: what the file has is finished, elsewhere."""
    monkeypatch.chdir(tmp_path)
    for attn in ("none", "eca"):
        write_run(tmp_path / "theirs", attn, 0)
    export_results(list(read_folder_runs(tmp_path / "theirs")), tmp_path / "theirs.results")
    Path("two.yaml").write_text(
        "recipe: {data: {name: cifar10}, model: {backbone: resnet20}}\naxes: {attn: [eca], seeds: 2}\n"
    )
    rows = line("sweep", "two.yaml", "--with", "theirs.results", "--dry-run", "--json").json()
    states = [(row["attn"], row["seed"], row["status"], row["elsewhere"]) for row in rows]
    assert states[:2] == [("none", 0, "finished", True), ("eca", 0, "finished", True)]
    assert states[2:] == [("none", 1, "new", False), ("eca", 1, "new", False)]
