"""The process of a worker: it does one task after another, and keeps what they share (libraries, decoded images).

    python -m attncli.jobs.worker SETTING       (SETTING as JSON; a task a line on stdin, events as lines on stdout)

It ends when its stdin does: a parent that was killed takes its workers along, and they save what they have first.
A task that was not finished ends the worker too: whatever it left behind in the process troubles no other run.
"""

import json
import os
import queue
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from pkgutil import resolve_name
from types import FrameType
from typing import Any

from attncli.collector import rarely
from attncli.errors import UserError
from attncli.jobs.event import LOG
from attncli.jobs.remember import remember
from attncli.recipe import Recipe

Order = dict[str, Any]
Say = Callable[..., None]


class Inbox:
    """The orders on stdin. Their end, in the middle of a task, is a SIGTERM to this process."""

    def __init__(self) -> None:
        self._orders: queue.SimpleQueue[Order | None] = queue.SimpleQueue()
        self._closed = threading.Event()
        self._busy = False
        threading.Thread(target=self._read, daemon=True).start()

    def __iter__(self) -> Iterator[Order]:
        """The orders, one after the other; the time until the next is asked for counts as busy."""
        while (order := self._orders.get()) is not None:
            self._busy = True
            if self._closed.is_set():
                return
            yield order
            self._busy = False

    def _read(self) -> None:
        for line in sys.stdin:
            self._orders.put(json.loads(line))
        self._closed.set()
        self._orders.put(None)
        if self._busy:
            os.kill(os.getpid(), signal.SIGTERM)


def main(setting: str) -> None:
    """The worker's process: says that it is ready, then does its orders until there are no more."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _interrupt)
    say = _mouth()
    _first_to_go()
    try:
        place = json.loads(setting)
        inbox = Inbox()
        with rarely():
            from attncli import measure
            from attncli.track import load_mlflow

            load_mlflow()
            do = _doer(Path(place["runs"]), place["uri"], place["decorate"], say)
        say("ready", threads=measure.machine()["threads"])
        for order in inbox:
            ending = do(order)
            say("ended", **ending)
            if ending["status"] not in ("FINISHED", "OCCUPIED"):
                return
    except KeyboardInterrupt:
        return


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _mouth() -> Say:
    """What says an event to the parent; whatever else is printed goes where stderr goes."""
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def say(event: str, **values: Any) -> None:
        with suppress(BrokenPipeError):  # a parent that is gone closes stdin as well
            out.write(json.dumps({"event": event, **values}) + "\n")
            out.flush()

    return say


def _first_to_go() -> None:
    """Where memory runs out, Linux is to end this process and not the one that would tell of it."""
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("500")


def _doer(runs: Path, uri: str | None, decorate: str, say: Say) -> Callable[[Order], dict[str, str]]:
    """What does an order and tells how it ended."""
    from attncli.jobs.doing import run_task, time_task

    load = remember()
    picture = resolve_name(decorate) if decorate else None

    def do(order: Order) -> dict[str, str]:
        recipe = Recipe.model_validate(order["recipe"])
        work = (
            partial(time_task, recipe, runs=runs, load=load)
            if order["timing"]
            else partial(
                run_task,
                recipe,
                runs=runs,
                uri=uri,
                say=say,
                load=load,
                decorate=picture,
                tags=order["tags"],
                threads=order["threads"],
            )
        )
        try:
            with output(runs / recipe.digest()):
                return ending(work)
        except OSError as error:
            return {"status": "FAILED", "problem": f"{error.filename}: {error.strerror}", "hint": "mend --runs"}

    return do


def ending(work: Callable[[], object]) -> dict[str, str]:
    """Do it, and tell how it ended; why it was not finished is printed too."""
    from attncli.run import OccupiedError
    from attncli.train import Interrupted

    try:
        work()
    except OccupiedError:
        return {"status": "OCCUPIED"}
    except (KeyboardInterrupt, Interrupted) as error:
        problem = error.problem if isinstance(error, Interrupted) else "stopped"
        print(problem, flush=True)
        return {"status": "KILLED", "problem": problem, "hint": "the same sweep goes on from here"}
    except UserError as error:
        problem, hint = "; ".join(e.problem for e in error.parts), error.parts[0].hint
        print(f"Error: {problem}\n  hint: {hint}", flush=True)
        return {"status": "FAILED", "problem": problem, "hint": hint}
    except Exception as error:
        traceback.print_exc()
        told = (str(error).strip().splitlines() or [""])[0]
        return {"status": "FAILED", "problem": f"{type(error).__name__}: {told}", "hint": ""}
    return {"status": "FINISHED"}


@contextmanager
def output(folder: Path) -> Iterator[None]:
    """Whatever is printed, by Python or a library, is added to output.log in the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    before = [os.dup(1), os.dup(2)]
    with (folder / LOG).open("ab", buffering=0) as file:
        for number in (1, 2):
            os.dup2(file.fileno(), number)
        try:
            yield
        finally:
            for stream, number, saved in ((sys.stdout, 1, before[0]), (sys.stderr, 2, before[1])):
                with suppress(OSError):
                    stream.flush()
                os.dup2(saved, number)
                os.close(saved)


if __name__ == "__main__":
    main(*sys.argv[1:])
