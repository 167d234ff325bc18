"""Time attncli's training against a bare loop and the usual loop: contenders take turns, ratios are per round.

A round gives one ratio of throughput (attncli's to the rival's) per rival: if something slows the
machine down for a while, it slows all contenders of a round. Medians and quartiles are taken over the rounds.
"""

from collections.abc import Iterator, Sequence

from attncli.benchmark.results import TrainingBenchRow
from attncli.benchmark.training_loops import BenchSetting
from attncli.benchmark.turns import BenchLimit, ReportProgress, bench_in_turn

BACKBONES = ("resnet20", "resnet18", "resnet50")
MECHANISMS = ("none", "eca", "cbam")
RIVALS = ("bare", "usual", "usual-bf16")  # the default ones
BATCH, STEPS = 128, 8
BATCHES = {"resnet50": 32}  # four processes must fit into memory together
LONGER_TURNS = {"resnet20": 48}  # steps per turn, if 8 would take only half a second


def make_settings(
    backbones: Sequence[str], mechanisms: Sequence[str], steps: int | None, batch_size: int | None
) -> list[BenchSetting]:
    """Return one setting per backbone and mechanism; None chooses steps or batch size to suit the backbone."""
    return [
        BenchSetting(
            backbone,
            attn,
            batch_size=batch_size or BATCHES.get(backbone, BATCH),
            steps=steps or LONGER_TURNS.get(backbone, STEPS),
        )
        for backbone in backbones
        for attn in mechanisms
    ]


def bench_training(
    settings: Sequence[BenchSetting],
    limit: BenchLimit,
    rivals: Sequence[str] = RIVALS,
    report: ReportProgress = lambda text: None,
) -> Iterator[TrainingBenchRow]:
    """Yield one row per network that was measured in time. Arguments and errors as in `bench_in_turn`."""
    return bench_in_turn(settings, {name: name for name in ("ours", *rivals)}, limit, report)
