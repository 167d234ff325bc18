"""How many seeds a run records as planned: by its sweep and by its recipe."""

from pathlib import Path

import pytest

from attncli import recipe, train
from attncli.records import PLAN_TAG
from attncli.run import execute


@pytest.mark.parametrize(
    ("by_recipe", "by_sweep", "recorded"),
    [(5, 8, "8"), (5, 3, "5"), (5, None, "5"), (None, 3, "3"), (None, None, None)],
)
def test_the_larger_number_counts(
    by_recipe: int | None, by_sweep: int | None, recorded: str | None, tmp_path: Path
) -> None:
    """A sweep may plan more seeds than its recipe says, as the command does that adds seeds to a claim."""
    chosen = recipe.read(overrides=[] if by_recipe is None else [f"planned_seeds={by_recipe}"])
    given = {"other": "x"} | ({} if by_sweep is None else {PLAN_TAG: str(by_sweep)})
    tags = execute._list_tags(given, chosen, train.init_accelerator(), tmp_path)
    assert (tags.get(PLAN_TAG), tags["other"]) == (recorded, "x")
