"""Time attncli's training against a bare loop and the usual loop: contenders take turns, ratios are per round.

A turn is one epoch of `steps` batches. In each round every contender has one turn, in an order that rotates from
round to round. A round gives one ratio of throughput (attncli's to the rival's) per rival: if something slows the
machine down for a while, it slows all contenders of a round. Medians and quartiles are taken over the rounds.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack

from attncli.benchmark.contenders import CONTENDERS, contender_process
from attncli.benchmark.results import TrainingBenchRow, summarize_rounds
from attncli.benchmark.training_loops import BenchSetting
from attncli.benchmark.worker_process import run_rounds

BACKBONES = ("resnet20", "resnet18", "resnet50")
MECHANISMS = ("none", "eca", "cbam")
RIVALS = CONTENDERS[1:]
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
    settings: Sequence[BenchSetting], rounds: int, rivals: Sequence[str] = RIVALS
) -> Iterator[TrainingBenchRow]:
    """Yield one row per setting. Raises RunFailedError if a contender's process dies."""
    for setting in settings:
        with ExitStack() as stack:
            turns = {name: stack.enter_context(contender_process(name, setting)) for name in ("ours", *rivals)}
            yield summarize_rounds(setting, run_rounds(turns, rounds))
