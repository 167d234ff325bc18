"""Time networks in several processes, one after the other: a process is fast or slow as a whole.

Memory addresses, the order of threads and the clock of a core stay as they are while a process lives, so the rounds of
one process agree better with each other than with those of the next. An interval over processes knows both.

    python -m attncli.measure.processes     # the worker: a request on stdin, one line of JSON on stdout
"""

import json
import math
import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from typing import Any

from attncli.errors import RunFailedError, UserError
from attncli.measure.overhead import Overhead, measure_recipe_overhead
from attncli.model import InputSpec
from attncli.recipe import Recipe, parse_yaml
from attncli.records import Speed
from attncli.system.output_encoding import tolerate_unencodable_text

NORMAL_HALF_WIDTH = 1.96  # standard errors of half a 95 % interval
RATIOS = ("train_ratio", "infer_ratio")


def measure_in_processes(
    recipes: Sequence[Recipe], shape: InputSpec, processes: int, report: Callable[[int], None] = lambda _: None
) -> list[Overhead]:
    """Measure the overhead of each recipe in this many new processes, one after the other.

    Args:
        recipes: The recipes, each with a mechanism of its own.
        shape: The images.
        processes: How many, at least 2.
        report: Called with the number of processes that have ended.

    Raises:
        RunFailedError: A process ended without its figures.
        UserError: What a process cannot measure.
    """
    request = json.dumps({
        "recipes": [recipe.to_yaml() for recipe in recipes], "classes": shape.classes, "size": shape.size,
        "frames": shape.frames,
    })  # fmt: skip
    answers = []
    for i in range(processes):
        answers.append(_ask_process(request))
        report(i + 1)
    counted = [measure_recipe_overhead(recipe, shape, with_speed=False) for recipe in recipes]
    return [_combine_answers(row, [answer[k] for answer in answers]) for k, row in enumerate(counted)]


def _ask_process(request: str) -> list[dict[str, Any]]:
    command = [sys.executable, "-m", __name__]
    process = subprocess.run(
        command, input=request, capture_output=True, encoding="utf-8", errors="replace", check=False
    )
    if process.returncode:
        last_line = (process.stderr.strip().splitlines() or ["no error message"])[-1]
        raise RunFailedError(f"measure: a process ended with code {process.returncode}: {last_line}", "try it again")
    answer = json.loads(process.stdout.splitlines()[-1])
    if isinstance(answer, dict):
        raise UserError(answer["problem"], answer["hint"], code=answer["code"])
    rows: list[dict[str, Any]] = answer
    return rows


def _combine_answers(row: Overhead, answers: Sequence[dict[str, Any]]) -> Overhead:
    """Return the counted row with the speeds of the processes, or with what went wrong in one of them.

    Speeds of different batch sizes are not combined: the interval over the processes would be one of the batch sizes.
    """
    failed = next((answer for answer in answers if answer["problem"]), None)
    if row.problem:
        return row
    if failed is not None:
        return replace(row, problem=failed["problem"], hint=failed["hint"])
    speeds = [Speed(**answer["speed"]) for answer in answers]
    batch_sizes = sorted({speed.batch_size for speed in speeds})
    if len(batch_sizes) > 1:
        problem = f"some processes timed {batch_sizes[0]} images a step and others {batch_sizes[-1]}"
        return replace(row, problem=problem, hint=f"time all with as many: --batch-size {batch_sizes[0]}")
    return replace(row, speed=combine_speeds(speeds))


def combine_speeds(speeds: Sequence[Speed]) -> Speed:
    """Return one record of the speeds of several processes: medians of the rates, ratios with wider intervals.

    All have one batch size.

    A ratio is the geometric mean over the processes. Its 95 % interval is Student's over the processes; where they
    agree by chance, their spread counts as what the rounds within a process leave open.
    """
    figures: dict[str, Any] = {}
    for name in RATIOS:
        centre, low, high = combine_ratios(
            [(getattr(s, name), getattr(s, f"{name}_low"), getattr(s, f"{name}_high")) for s in speeds]
        )
        figures |= {name: centre, f"{name}_low": low, f"{name}_high": high}
    rates = ("train_images_per_s", "infer_images_per_s", "baseline_train_images_per_s", "baseline_infer_images_per_s")
    figures |= {name: statistics.median(getattr(speed, name) for speed in speeds) for name in rates}
    for name in ("load", "cores_used_by_others"):
        values = [getattr(speed, name) for speed in speeds if getattr(speed, name) is not None]
        figures[name] = max(values, default=None)
    return replace(speeds[-1], **figures, processes=len(speeds))


def combine_ratios(ratios: Sequence[tuple[float, float, float]]) -> tuple[float, float, float]:
    """Return the ratio over several processes and its 95 % interval, of the ratio and the interval of each.

    Raises ValueError for fewer than two processes.
    """
    if len(ratios) < 2:
        raise ValueError("one process does not tell how processes differ")
    from scipy import special

    logs = [math.log(ratio) for ratio, _, _ in ratios]
    if any(low <= 0 or math.isinf(high) for _, low, high in ratios):
        return math.exp(statistics.fmean(logs)), -math.inf, math.inf  # too few rounds in a process
    within = statistics.fmean((math.log(high / low) / (2 * NORMAL_HALF_WIDTH)) ** 2 for _, low, high in ratios)
    variance = max(statistics.variance(logs), within)
    centre = statistics.fmean(logs)
    half_width = float(special.stdtrit(len(logs) - 1, 0.975)) * math.sqrt(variance / len(logs))
    return math.exp(centre), math.exp(centre - half_width), math.exp(centre + half_width)


def _answer_request() -> None:
    """Measure what the request on stdin asks for; what a library prints goes to stderr."""
    tolerate_unencodable_text("utf-8")
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    try:
        answer = _measure_rows(json.load(sys.stdin))
    except UserError as error:
        answer = {"problem": error.problem, "hint": error.hint, "code": error.code}
    answers.write(json.dumps(answer) + "\n")
    answers.flush()


def _measure_rows(request: dict[str, Any]) -> Any:
    """Return the speed of each recipe of a request, or what went wrong with it."""
    shape = InputSpec(request["classes"], tuple(request["size"]), request["frames"])
    rows = [
        measure_recipe_overhead(Recipe.model_validate(parse_yaml(text)), shape, with_speed=True)
        for text in request["recipes"]
    ]
    return [
        {"speed": asdict(row.speed) if row.speed else None, "problem": row.problem, "hint": row.hint} for row in rows
    ]


if __name__ == "__main__":
    _answer_request()
