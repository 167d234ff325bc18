"""Contenders that take turns, within a limit of time.

A turn is one epoch of `steps` batches. In each round every contender has one turn, in an order that rotates from
round to round. The networks share the time that is left equally: one that is done early leaves its time to the others.
"""

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from attncli.benchmark.contenders import contender_process
from attncli.benchmark.results import TrainingBenchRow, summarize_rounds
from attncli.benchmark.training_loops import BenchSetting
from attncli.errors import RunFailedError

ReportProgress = Callable[[str], None]
RoundSeconds = dict[str, float]  # of each contender's turn
NO_END = (math.inf, math.inf)


@dataclass(frozen=True)
class BenchLimit:
    """How long a bench may take: at most `rounds` turns per contender, and `seconds` for all networks together."""

    rounds: int
    seconds: float


def bench_in_turn(
    settings: Sequence[BenchSetting],
    contenders: Mapping[str, str],
    limit: BenchLimit,
    report: ReportProgress = lambda text: None,
) -> Iterator[TrainingBenchRow]:
    """Yield one row per network of which a round was completed in time; what ends it first yields the row it ends.

    Args:
        settings: the networks.
        contenders: the contender's name in the row, and its name as a process; `ours` is compared with the others.
        limit: the bench ends at most one turn after it, or one start of a contender.
        report: gets a line when contenders start, after each round, and if networks are left out.

    Raises:
        RunFailedError: a contender's process died; after the row of the complete rounds.
        KeyboardInterrupt: Ctrl-C, likewise.
    """
    ends_at = time.monotonic() + limit.seconds
    left_out = []
    for index, setting in enumerate(settings):
        now = time.monotonic()
        share_ends_at = now + (ends_at - now) / (len(settings) - index)
        rounds: list[RoundSeconds] = []
        failure: BaseException | None = None
        try:
            for seconds in _iterate_timed_rounds(setting, contenders, limit.rounds, (share_ends_at, ends_at), report):
                rounds.append(seconds)
                report(f"{_name_setting(setting)}: round {len(rounds)} of {limit.rounds}")
        except (KeyboardInterrupt, RunFailedError) as error:
            failure = error
        if rounds:
            yield summarize_rounds(setting, rounds)
        else:
            left_out.append(_name_setting(setting))
        if failure:
            raise failure
    if left_out:
        report(f"no time was left for {', '.join(left_out)}; --minutes gives more")


def _name_setting(setting: BenchSetting) -> str:
    return f"{setting.backbone} {setting.attn}"


def _iterate_timed_rounds(
    setting: BenchSetting,
    contenders: Mapping[str, str],
    rounds: int,
    ends_at: tuple[float, float],
    report: ReportProgress,
) -> Iterator[RoundSeconds]:
    """Start the contenders of a network and yield its rounds; nothing more is started after the end of all."""
    with ExitStack() as stack:
        turns = {}
        for name, process in contenders.items():
            if time.monotonic() >= ends_at[1]:
                return
            report(f"{_name_setting(setting)}: starting {name}")
            turns[name] = stack.enter_context(contender_process(process, setting))
        yield from iterate_rounds(turns, rounds, ends_at)


def iterate_rounds(
    turns: Mapping[str, Callable[[], float]], rounds: int, ends_at: tuple[float, float] = NO_END
) -> Iterator[RoundSeconds]:
    """Yield the seconds of each contender's turn for each round; the contender that begins rotates.

    Args:
        turns: a function per contender that does a turn and returns its seconds.
        rounds: the most rounds.
        ends_at: two times of `time.monotonic`. A second or later round starts only if one as long as the
            longest ends before the first time. A round that is not complete at the second time is dropped.
    """
    names = list(turns)
    longest = 0.0
    for i in range(rounds):
        started_at = time.monotonic()
        if i and started_at + longest > ends_at[0]:
            return
        first = i % len(names)
        seconds = {}
        for name in names[first:] + names[:first]:
            if time.monotonic() >= ends_at[1]:
                return
            seconds[name] = turns[name]()
        longest = max(longest, time.monotonic() - started_at)
        yield seconds
