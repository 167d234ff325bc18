"""Time attncli's evaluation against the bare inference that `measure` times.

    evaluate    attncli.train.evaluate on a split: images normalised, copied to the device and counted, losses summed
    infer       the network alone, repeatedly on one batch on the device: what `measure` reports as infer

Both run the same number of images per turn, in turn, each in its own process.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack

from attncli.benchmark.contenders import contender_process
from attncli.benchmark.results import TrainingBenchRow, summarize_rounds
from attncli.benchmark.training_loops import BenchSetting
from attncli.benchmark.worker_process import run_rounds


def bench_evaluation(settings: Sequence[BenchSetting], rounds: int) -> Iterator[TrainingBenchRow]:
    """Yield one row per setting, with the ratio under `infer`. Raises RunFailedError if a process dies."""
    for setting in settings:
        with ExitStack() as stack:
            turns = {
                n: stack.enter_context(contender_process(c, setting))
                for n, c in (("ours", "evaluate"), ("infer", "infer"))
            }
            yield summarize_rounds(setting, run_rounds(turns, rounds))
