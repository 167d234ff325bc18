"""The processes of a run: all train and evaluate together, and the first one does everything else."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NoReturn

from accelerate import Accelerator

from attncli import model, train
from attncli.data.dataset import Dataset
from attncli.errors import RunFailedError, UserError
from attncli.recipe import Recipe
from attncli.run.naming import make_input_spec
from attncli.train import AllRanksError, Interrupted


@contextmanager
def main_rank(accelerator: Accelerator) -> Iterator[Callable[[], None]]:
    """Yield `release_ranks`, which the first process calls twice: to let the others read the data, then to start them.

    If it does not call it, they end. It raises RunFailedError if another process could not begin; that process reports
    the reason.
    """
    calls = 0

    def release_ranks() -> None:
        nonlocal calls
        calls += 1
        if train.combine_flags(accelerator, True, False)[1]:
            raise RunFailedError("another process of this run could not begin", "see the error of that process")

    try:
        yield release_ranks
    finally:
        if calls < 2:
            with suppress(RuntimeError):  # the others have ended
                train.combine_flags(accelerator, False, False)


def follow_main_rank(
    recipe: Recipe, accelerator: Accelerator, *, runs: Path, resume: bool, load_dataset: Callable[..., Dataset]
) -> NoReturn:
    """Train and evaluate in every process but the first; exit silently if the first one reports an error.

    Raises SystemExit at the end, UserError for an error of this process alone.
    """
    setup_error = None
    if not train.combine_flags(accelerator, False, False)[0]:
        raise SystemExit(0)  # before the images are read, which may take longer than the first process would wait
    try:
        dataset = load_dataset(recipe.resolve_data(), cache=runs / "cache")
        net = model.build(recipe, make_input_spec(dataset))
    except UserError as error:
        setup_error = error
    if not train.combine_flags(accelerator, False, setup_error is not None)[0]:
        raise SystemExit(0)
    try:
        if setup_error:
            raise setup_error
        folder = runs / recipe.compute_digest()
        for _ in train.train_model(net, dataset, recipe, folder=folder, resume=resume, accelerator=accelerator):
            pass
        train.evaluate_split(net, dataset.test, dataset, recipe, name="test", accelerator=accelerator)
    except (Interrupted, AllRanksError) as error:
        raise SystemExit(error.code) from error
    except UserError as error:
        raise UserError(f"process {accelerator.process_index}: {error.problem}", error.hint, code=error.code) from error
    train.shutdown_process_group(accelerator)
    raise SystemExit(0)
