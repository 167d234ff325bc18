"""Whatever files come in, a reader ends in a dataset or in one line for the user."""

import random
import shutil
from pathlib import Path

import pytest

from attncli import data
from attncli.errors import UserError
from attncli.recipe import Data
from tests.data.garbage import MAKERS, draw_keys


def try_reading(kind: str, number: int, folder: Path) -> bool:
    """Make garbage, read and verify it, and return whether it was read; any error but a UserError fails the test."""
    rng = random.Random(f"{kind} {number}")
    root, is_read = folder / "x", False
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
    shutil.rmtree(root)
    shutil.rmtree(folder / "cache", ignore_errors=True)
    return is_read


def check_message(error: UserError) -> None:
    """A message has a hint and is one line."""
    assert error.hint, error.problem
    assert error.problem.isprintable(), error.problem


@pytest.mark.parametrize("kind", MAKERS)
def test_no_garbage_ends_in_a_traceback(tmp_path: Path, kind: str) -> None:
    """A few tries with each reader; some of them are readable and some are not."""
    outcomes = {try_reading(kind, number, tmp_path) for number in range(40)}
    assert outcomes == {True, False}


@pytest.mark.slow
@pytest.mark.parametrize("kind", MAKERS)
def test_no_garbage_ends_in_a_traceback_in_10_000_tries(tmp_path: Path, kind: str) -> None:
    """The same many times: 10,000 tries over all readers."""
    tries = -(-10_000 // len(MAKERS))
    print(kind, sum(try_reading(kind, number, tmp_path) for number in range(100, 100 + tries)), "read of", tries)
