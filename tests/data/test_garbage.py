"""Whatever files come in, a reader ends in a dataset or in one line for the user."""

import random
import shutil
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import strategies as st

from attncli import data
from attncli.errors import UserError
from attncli.recipe import Data
from tests.data.garbage import MAKERS, draw_keys
from tests.garbage import try_each


def try_reading(kind: str, rng: random.Random, folder: Path) -> bool:
    """Make garbage, read and verify it, and return whether it was read; any error but a UserError fails the test."""
    root, is_read = folder / "x", False
    for leftover in (root, folder / "cache"):
        shutil.rmtree(leftover, ignore_errors=True)
    recipe = Data.model_validate(MAKERS[kind](rng, root) | draw_keys(rng))
    try:
        dataset = data.load(recipe, cache=folder / "cache")
        assert len(dataset.classes) > 1
        assert all(len(split) for split in (dataset.train, dataset.test))
        is_read = True
    except UserError as error:
        check_message(error)
    report = data.verify_dataset(recipe)
    assert is_read <= bool(report.parts)
    return is_read


def count_read(kind: str, folder: Path, tries: int) -> Counter[bool]:
    """Read so many pieces of garbage; return how many of them were read and how many refused."""
    outcomes: Counter[bool] = Counter()

    def use(rng: random.Random) -> None:
        outcomes[try_reading(kind, rng, folder)] += 1

    try_each(st.randoms(use_true_random=True), use, tries)
    return outcomes


def check_message(error: UserError) -> None:
    """A message has a hint and is one line."""
    assert error.hint, error.problem
    assert error.problem.isprintable(), error.problem


@pytest.mark.parametrize("kind", MAKERS)
def test_no_garbage_ends_in_a_traceback(tmp_path: Path, kind: str) -> None:
    """A few tries with each reader; some of them are readable and some are not."""
    assert set(count_read(kind, tmp_path, 40)) == {True, False}


@pytest.mark.slow
@pytest.mark.parametrize("kind", MAKERS)
def test_no_garbage_ends_in_a_traceback_in_10_000_tries(tmp_path: Path, kind: str) -> None:
    """The same ten thousand times for each reader."""
    print(kind, dict(count_read(kind, tmp_path, 10_000)))
