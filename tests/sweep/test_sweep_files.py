"""The written sweeps: each is good, says what it asks, and every network of it can be built."""

from pathlib import Path

import pytest
import torch

from attncli import attention, model
from attncli.jobs.plan import group_mechanisms, plan_sweep
from attncli.model import InputSpec
from tests.shared import ROOT

FILES = sorted((ROOT / "recipes" / "sweeps").glob("*.yaml"))
WANTED = {*attention.CATEGORIES, "survey", "placement", "cbam-parts", "bam-fusion", "simam-lambda", "eca-kernel"}


def test_all_are_there() -> None:
    """One for each category, one of all, and the ablations of single mechanisms."""
    assert {path.stem for path in FILES} == WANTED


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
def test_a_sweep_opens_with_its_question_and_command(path: Path) -> None:
    """The first line asks or says what it is about, the second is how to call it."""
    first, second = path.read_text(encoding="utf-8").splitlines()[:2]
    assert first.startswith("# ")
    assert "?" in first
    assert second == f"#   attncli sweep {path.stem} --jobs 2"


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
def test_every_network_of_a_sweep_can_be_built(path: Path, tmp_path: Path) -> None:
    """Names, options, sites and stages fit the backbone and the images, for every run of one seed."""
    plan = plan_sweep(path, runs=tmp_path, axes={"seeds": 1})
    for run in plan.runs:
        recipe = run.recipe
        size = {"digits": 8}.get(recipe.data.name, 32)
        with torch.device("meta"):
            net = model.build(recipe, InputSpec(10, (size, size), 8 if recipe.data.name == "clips" else None))
        assert sum(p.numel() for p in net.parameters()) > 0


@pytest.mark.parametrize("name", [*attention.CATEGORIES, "survey"])
def test_a_category_is_whole(name: str, tmp_path: Path) -> None:
    """No mechanism of a category is left out, in the survey none at all, however they come in."""
    plan = plan_sweep(ROOT / "recipes" / "sweeps" / f"{name}.yaml", runs=tmp_path)
    wanted = set(group_mechanisms()["all" if name == "survey" else name])
    assert {run.recipe.model.attn for run in plan.runs} == {"none", *wanted}
    assert len(plan.runs) == 3 * (len(wanted) + len({r.recipe.make_baseline().compute_group() for r in plan.runs}))


def test_sweeps_share_their_runs(tmp_path: Path) -> None:
    """What one sweep has done is finished in the others: the survey holds all of every category's but the clips'."""
    folder = ROOT / "recipes" / "sweeps"
    survey = {run.digest for run in plan_sweep(folder / "survey.yaml", runs=tmp_path).runs}
    for name in attention.CATEGORIES:
        own = {run.digest for run in plan_sweep(folder / f"{name}.yaml", runs=tmp_path).runs}
        assert own <= survey, name


def test_digits_are_enough_to_try_any(tmp_path: Path) -> None:
    """With --dataset digits no written sweep downloads anything."""
    for path in FILES:
        for run in plan_sweep(
            path, runs=tmp_path, axes={} if path.stem == "temporal" else {"dataset": ["digits"]}
        ).runs:
            data = run.recipe.data
            assert (data.of if data.name == "clips" else data.name) == "digits"
