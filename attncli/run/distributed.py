"""The processes of a run: all train and evaluate together, and the first one does everything else.

The others follow the first process. They meet it three times: before they read the images, as it may find an error or a
finished run; after that, as any process may have found an error; and before they train, as its tracking may fail. Each
time all processes exchange two facts: whether the first one goes on, and whether another one failed. Whatever error or
signal a process meets, it takes part until one has said that it ends: with NCCL a process that waits for one that is
gone hears no signal.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from accelerate import Accelerator

from attncli import model, train
from attncli.data.dataset import Dataset
from attncli.errors import RunFailedError, UserError
from attncli.recipe import Recipe
from attncli.run.naming import make_input_spec
from attncli.train import AllRanksError, Interrupted


class FollowingRanks:
    """The other processes of a run, as the first one sees them; a run of one process has none."""

    def __init__(self, accelerator: Accelerator) -> None:
        self._accelerator = accelerator
        self._are_waiting = True  # for the first process

    def let_load(self) -> None:
        """Let them read the images and build the network."""
        self._release()

    def check_setup(self) -> None:
        """Raise RunFailedError if one of them has no images or no network. That process reports the reason, all end."""
        if self._release():
            self._are_waiting = False
            raise RunFailedError("another process of this run could not begin", "see the error of that process")

    def let_train(self) -> None:
        """Let them train and evaluate."""
        self._are_waiting = False
        self._release()

    def dismiss(self) -> None:
        """End them, at whichever of the three points they wait, unless they train."""
        if self._are_waiting:
            with suppress(RunFailedError):  # they have ended
                _exchange_flags(self._accelerator)

    def _release(self) -> bool:
        """Let them go on, and return whether one of them has failed."""
        return _exchange_flags(self._accelerator, main_goes_on=True).has_follower_failed


@contextmanager
def following_ranks(accelerator: Accelerator) -> Iterator[FollowingRanks]:
    """Yield the other processes to the first one; those that wait when the block ends, for an error or not, end too."""
    ranks = FollowingRanks(accelerator)
    try:
        yield ranks
    finally:
        ranks.dismiss()


@dataclass(frozen=True)
class _RankFlags:
    """What all processes know after an exchange."""

    main_goes_on: bool
    has_follower_failed: bool


def _exchange_flags(
    accelerator: Accelerator, *, main_goes_on: bool = False, has_follower_failed: bool = False
) -> _RankFlags:
    """Tell all processes what this one knows: only the first can set `main_goes_on`. Waits for all of them."""
    return _RankFlags(*train.combine_flags(accelerator, main_goes_on, has_follower_failed))


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
    flags = _exchange_flags(accelerator, has_follower_failed=has_failed)
    if not flags.main_goes_on or (flags.has_follower_failed and not has_failed):
        raise SystemExit(0)
