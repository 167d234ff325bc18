"""Time attncli's evaluation against the bare inference that `measure` times.

    evaluate    attncli.train.evaluate on a split: images normalised, copied to the device and counted, losses summed
    infer       the network alone, repeatedly on one batch on the device: what `measure` reports as infer

Both run the same number of images per turn, in turn, each in its own process.
"""

from collections.abc import Iterator, Sequence

from attncli.benchmark.results import TrainingBenchRow
from attncli.benchmark.training_loops import BenchSetting
from attncli.benchmark.turns import BenchLimit, ReportProgress, bench_in_turn


def bench_evaluation(
    settings: Sequence[BenchSetting], limit: BenchLimit, report: ReportProgress = lambda text: None
) -> Iterator[TrainingBenchRow]:
    """Yield one row per network that was measured in time, with the ratio under `infer`.

    Arguments and errors as in `bench_in_turn`.
    """
    return bench_in_turn(settings, {"ours": "evaluate", "infer": "infer"}, limit, report)
