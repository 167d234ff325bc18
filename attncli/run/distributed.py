"""The processes of a run: all train and evaluate together, and the first one does everything else.

Before the training they exchange flags three times: the first process lets the others read the data, hears whether all
of them can begin, and starts them once its records are there. Each of them takes part in every exchange until one has
said that it ends, whatever error or signal it meets meanwhile: with NCCL a process that waits for one that is gone does
not hear a signal.
"""

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

EXCHANGES = 3


@contextmanager
def main_rank(accelerator: Accelerator) -> Iterator[Callable[[], None]]:
    """Yield `release_ranks`, which the first process calls three times, see above.

    If it does not call it, the others end. It raises RunFailedError if another process could not begin; that process
    reports the reason.
    """
    exchanges = 0
    can_others_go_on = True

    def release_ranks() -> None:
        nonlocal exchanges, can_others_go_on
        exchanges += 1
        can_others_go_on = not train.combine_flags(accelerator, True, False)[1]
        if not can_others_go_on:
            raise RunFailedError("another process of this run could not begin", "see the error of that process")

    try:
        yield release_ranks
    finally:
        if exchanges < EXCHANGES and can_others_go_on:
            with suppress(RunFailedError):  # the others have ended
                train.combine_flags(accelerator, False, False)


def follow_main_rank(
    recipe: Recipe, accelerator: Accelerator, *, runs: Path, resume: bool, load_dataset: Callable[..., Dataset]
) -> NoReturn:
    """Train and evaluate in every process but the first; exit silently if the first one reports an error.

    Raises SystemExit at the end, UserError for an error of this process alone.
    """
    _await_release(accelerator)  # before the images are read, which may take longer than the first process would wait
    setup_error: BaseException | None = None
    try:
        dataset = load_dataset(recipe.resolve_data(), cache=runs / "cache")
        net = model.build(recipe, make_input_spec(dataset))
    except BaseException as error:  # also a signal: the first process waits for the next exchange
        setup_error = error
    _await_release(accelerator, has_failed=setup_error is not None)
    try:
        if setup_error:
            raise setup_error
        _await_release(accelerator)
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


def _await_release(accelerator: Accelerator, *, has_failed: bool = False) -> None:
    """Wait for the first process, and tell the others whether this one has failed.

    Raises SystemExit if the first process ends, or another one has failed, which reports the reason.
    """
    is_released, has_any_failed = train.combine_flags(accelerator, False, has_failed)
    if not is_released or (has_any_failed and not has_failed):
        raise SystemExit(0)
