"""How fast attncli evaluates, beside the bare inference that `measure` times.

    evaluate    attncli.train.evaluate on a split: images normalised, sent and counted, losses summed, all included
    infer       the network alone, again and again on one batch that lies ready: what `measure` reports as infer

Both answer for as many images a turn, in turn, each in a process of its own.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack

import torch

from attncli import train
from attncli.measure.loops import Epoch, Setting, device
from attncli.measure.timing import contender
from attncli.measure.training import Row, row
from attncli.measure.turns import contest, waiting
from attncli.train.process import choose_kernels


def evaluate(setting: Setting) -> Epoch:
    """An evaluation of the setting's images; gives the loss."""
    net, dataset, recipe = setting.net(), setting.dataset(), setting.recipe()
    accelerator = train.start()
    return lambda: train.evaluate(net, dataset.test, dataset, recipe, name="test", accelerator=accelerator).loss


def infer(setting: Setting) -> Epoch:
    """As many passes of one batch of noise as the setting's images are batches; gives 0, as nothing is asked of it."""
    on = device()
    train.tune_malloc()
    choose_kernels(on)
    shape = (setting.batch_size, 3, setting.size, setting.size)
    recipe = setting.recipe()
    one = contender(setting.net(), recipe, setting.classes, shape, train.resolve_precision("auto", on), on)
    one.net.eval()

    def turn() -> float:
        for _ in range(setting.steps):
            one.infer()
        if on.type != "cpu":
            torch.accelerator.synchronize(on)
        return 0.0

    return turn


def bench(wanted: Sequence[Setting], rounds: int) -> Iterator[Row]:
    """A row for each setting, the ratio under `infer`. Raises RunFailedError where a contender's process dies."""
    for setting in wanted:
        with ExitStack() as stack:
            turns = {n: stack.enter_context(waiting(c, setting)) for n, c in (("ours", "evaluate"), ("infer", "infer"))}
            yield row(setting, contest(turns, rounds))
