"""How fast attncli evaluates, beside the bare inference that `measure` times.

    evaluate    attncli.train.evaluate on a split: images normalised, sent and counted, losses summed, all included
    infer       the network alone, again and again on one batch that lies ready: what `measure` reports as infer

Both answer for as many images a turn, in turn, each in a process of its own.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack

from attncli.benchmark.contenders import contender_process
from attncli.benchmark.results import TrainingBenchRow, summarize_rounds
from attncli.benchmark.training_loops import BenchSetting
from attncli.benchmark.worker_process import run_rounds


def bench_evaluation(settings: Sequence[BenchSetting], rounds: int) -> Iterator[TrainingBenchRow]:
    """A row for each setting, the ratio under `build_inference_loop`. Raises RunFailedError where a contender's
    process dies.
    """
    for setting in settings:
        with ExitStack() as stack:
            turns = {
                n: stack.enter_context(contender_process(c, setting))
                for n, c in (("ours", "evaluate"), ("infer", "infer"))
            }
            yield summarize_rounds(setting, run_rounds(turns, rounds))
