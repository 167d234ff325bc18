"""Time attncli's training against a bare loop and the usual loop: contenders take turns, ratios are per round.

A round gives one ratio of throughput (attncli's to the rival's) per rival: if something slows the
machine down for a while, it slows all contenders of a round. Medians and quartiles are taken over the rounds.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from attncli.attention import NONE
from attncli.benchmark.contenders import contender_process
from attncli.benchmark.results import TrainingBenchRow
from attncli.benchmark.training_loops import BenchSetting
from attncli.benchmark.turns import BenchLimit, ReportProgress, bench_in_turn

BACKBONES = ("resnet20", "resnet18", "resnet50")
MECHANISMS = ("none", "eca", "cbam")
RIVALS = ("bare", "usual", "usual-bf16")  # the default ones
BATCH = 128
BATCHES = {"resnet50": 32}  # four processes must fit into memory together
TURN_S = 3.0  # seconds of a turn, about: long beside a pause of the system, short beside the start of a contender
FEWEST_STEPS, MOST_STEPS = 2, 200


def make_settings(
    backbones: Sequence[str], mechanisms: Sequence[str], steps: int | None, batch_size: int | None
) -> list[BenchSetting]:
    """Return one setting per backbone and mechanism; None chooses the batch size and, by timing it, the steps."""
    settings = []
    for backbone in backbones:
        plain = BenchSetting(backbone, NONE, batch_size=batch_size or BATCHES.get(backbone, BATCH))
        chosen = replace(plain, steps=steps or choose_steps(plain))
        settings += [replace(chosen, attn=attn) for attn in mechanisms]
    return settings


def choose_steps(setting: BenchSetting) -> int:
    """Return how many batches a bare loop trains in about TURN_S seconds here: processors differ by ten times.

    The loop has a process of its own, which ends: what it allocates must not stay beside the contenders. Raises
    RunFailedError if it dies.
    """
    with contender_process("bare", replace(setting, steps=1)) as run_turn:
        seconds = min(run_turn(), run_turn())
    return max(FEWEST_STEPS, min(MOST_STEPS, round(TURN_S / seconds)))


def bench_training(
    settings: Sequence[BenchSetting],
    limit: BenchLimit,
    rivals: Sequence[str] = RIVALS,
    report: ReportProgress = lambda text: None,
) -> Iterator[TrainingBenchRow]:
    """Yield one row per network that was measured in time. Arguments and errors as in `bench_in_turn`."""
    return bench_in_turn(settings, {name: name for name in ("ours", *rivals)}, limit, report)
