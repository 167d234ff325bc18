"""The other processes of a run: they train and evaluate with the first one, and leave everything else to it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NoReturn

from accelerate import Accelerator

from attncli import model, train
from attncli.data.dataset import Dataset
from attncli.errors import RunFailedError, UserError
from attncli.recipe import Recipe
from attncli.run.describe import shape
from attncli.train import CommonError, Interrupted


@contextmanager
def leading(accelerator: Accelerator) -> Iterator[Callable[[], None]]:
    """In the first process: `go()` sends the others into the training; where it is never called, they end.

    `go` raises RunFailedError where another process could not begin, of which that tells more itself.
    """
    gone = False

    def go() -> None:
        nonlocal gone
        gone = True
        if train.agree(accelerator, True, False)[1]:
            raise RunFailedError("another process of this run could not begin", "what it says itself is the reason")

    try:
        yield go
    finally:
        if not gone:
            with suppress(RuntimeError):  # the others have ended
                train.agree(accelerator, False, False)


def follow(
    recipe: Recipe, accelerator: Accelerator, *, runs: Path, resume: bool, load: Callable[..., Dataset]
) -> NoReturn:
    """In every other process: take part, and end the process in silence where the first one has something to tell.

    Raises SystemExit at the end, UserError for what this process alone has met.
    """
    trouble = None
    try:
        dataset = load(recipe.data, cache=runs / "cache")
        net = model.build(recipe, shape(dataset))
    except UserError as error:
        trouble = error
    if not train.agree(accelerator, False, trouble is not None)[0]:
        raise SystemExit(0)
    try:
        if trouble:
            raise trouble
        folder = runs / recipe.digest()
        for _ in train.train(net, dataset, recipe, folder=folder, resume=resume, accelerator=accelerator):
            pass
        train.evaluate(net, dataset.test, dataset, recipe, name="test", accelerator=accelerator)
    except (Interrupted, CommonError) as error:
        raise SystemExit(error.code) from error
    except UserError as error:
        raise UserError(f"process {accelerator.process_index}: {error.problem}", error.hint, code=error.code) from error
    train.part(accelerator)
    raise SystemExit(0)
