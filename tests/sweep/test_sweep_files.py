"""The written sweeps: each is good, says what it asks, and every network of it can be built."""

from pathlib import Path
from typing import Any

import pytest
import torch

from attncli import attention, model
from attncli.backbones import compatibility
from attncli.jobs.plan import group_mechanisms, plan_sweep
from attncli.literature.peers import find_peer
from attncli.model import InputSpec
from tests.shared import ROOT

FILES = sorted((ROOT / "recipes" / "sweeps").glob("*.yaml"))
WANTED = {*attention.CATEGORIES, "survey", "placement", "cbam-parts", "bam-fusion", "simam-lambda", "eca-kernel"}
WANTED |= {
    "non-local-functions",
    "srm-parts",
    "sk-kernels",
    "recent",
    "free",
    "peers-timm",
    "evidence",
    "evidence-rest",
}
BEYOND_SURVEYS = {
    "a2", "aa", "aff", "bat", "bot", "cot", "cpca", "criss-cross", "ela", "ema", "ese", "gam", "gc",
    "halo", "involution", "lambda", "lka", "mca", "nam", "odconv", "polarized", "sa", "scsa", "sge", "splat",
}  # fmt: skip


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
    """Names, options, sites and stages fit the backbone and the images, also for a copy in an empty folder."""
    copy = tmp_path / path.name
    copy.write_text(path.read_text(encoding="utf-8"), encoding="utf-8")
    plan = plan_sweep(copy, runs=tmp_path, axes={"seeds": 1})
    for run in plan.runs:
        recipe = run.recipe
        size = {"digits": 8}.get(recipe.data.name, 32)
        with torch.device("meta"):
            net = model.build(recipe, InputSpec(10, (size, size), 8 if recipe.data.name == "clips" else None))
        assert sum(p.numel() for p in net.parameters()) > 0


def test_the_survey_is_that_of_the_surveys(tmp_path: Path) -> None:
    """The sweep of the surveys has the mechanisms that came with them, none of the further ones."""
    plan = plan_sweep(ROOT / "recipes" / "sweeps" / "survey.yaml", runs=tmp_path)
    planned = {run.recipe.model.attn for run in plan.runs}
    assert planned.isdisjoint(BEYOND_SURVEYS)
    assert {"none", "se", "eca", "cbam", "simam", "triplet", "self-attention", "dyconv"} <= planned


@pytest.mark.parametrize("name", attention.CATEGORIES)
def test_a_category_is_whole(name: str, tmp_path: Path) -> None:
    """No mechanism of a category is left out, however it comes in."""
    plan = plan_sweep(ROOT / "recipes" / "sweeps" / f"{name}.yaml", runs=tmp_path)
    wanted = set(group_mechanisms()[name])
    assert {run.recipe.model.attn for run in plan.runs} == {"none", *wanted}
    assert len(plan.runs) == 3 * (len(wanted) + len({r.recipe.make_baseline().compute_group() for r in plan.runs}))


def test_sweeps_share_their_runs(tmp_path: Path) -> None:
    """What one sweep has done is finished in the others: the survey holds what the surveys have of every category."""
    folder = ROOT / "recipes" / "sweeps"
    survey = {run.digest for run in plan_sweep(folder / "survey.yaml", runs=tmp_path).runs}
    for name in attention.CATEGORIES:
        runs = plan_sweep(folder / f"{name}.yaml", runs=tmp_path).runs
        assert {run.digest for run in runs if run.recipe.model.attn not in BEYOND_SURVEYS} <= survey, name


@pytest.mark.parametrize(
    ("name", "filters"), [("recent", {"first": 2021}), ("free", {"free": True}), ("peers-timm", {"peer": "timm"})]
)
def test_a_selection_is_what_the_list_shows(name: str, filters: dict[str, Any], tmp_path: Path) -> None:
    """The mechanisms of `ls attention` with the filter of that name, but those with a network or data of their own."""
    added = compatibility.load_added_parameters()
    wanted = {"none"}
    for attn in attention.mechanism_names():
        card = attention.describe_mechanism(attn).card
        if card.site == "model" or card.site.startswith("frames") or card.year < filters.get("first", 0):
            continue
        if filters.get("free") and not 0 <= (added[attn]["resnet50"] or 0) < 25_558:
            continue
        if "peer" in filters and attn not in find_peer(filters["peer"]).mechanisms:
            continue
        wanted.add(attn)
    plan = plan_sweep(ROOT / "recipes" / "sweeps" / f"{name}.yaml", runs=tmp_path, axes={"seeds": 1})
    assert {run.recipe.model.attn for run in plan.runs} == wanted


def test_digits_are_enough_to_try_any(tmp_path: Path) -> None:
    """With --dataset digits no written sweep downloads anything."""
    for path in FILES:
        for run in plan_sweep(
            path, runs=tmp_path, axes={} if path.stem == "temporal" else {"dataset": ["digits"]}
        ).runs:
            data = run.recipe.data
            assert (data.of if data.name == "clips" else data.name) == "digits"
