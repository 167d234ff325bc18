"""The process of a worker: it does one task after another, and keeps what they share (libraries, decoded images).

    python -m attncli.jobs.worker_main SETTING       (SETTING as JSON; a task a line on stdin, events as lines on
    stdout)

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
from typing import TYPE_CHECKING, Any

from attncli.errors import UserError
from attncli.jobs.events import OUTPUT_LOG
from attncli.jobs.remember import cache_datasets
from attncli.recipe import Recipe
from attncli.system.gc_tuning import relaxed_gc

if TYPE_CHECKING:
    from attncli.track import RunStore

TaskOrder = dict[str, Any]
SendEvent = Callable[..., None]


class OrderInbox:
    """The orders on stdin. Their end, in the middle of a task, is a SIGTERM to this process."""

    def __init__(self) -> None:
        self._orders: queue.SimpleQueue[TaskOrder | None] = queue.SimpleQueue()
        self._closed = threading.Event()
        self._busy = False
        threading.Thread(target=self._read_stdin, daemon=True).start()

    def __iter__(self) -> Iterator[TaskOrder]:
        """Yield the orders, one after the other; the time until the next is asked for counts as busy."""
        while (order := self._orders.get()) is not None:
            self._busy = True
            if self._closed.is_set():
                return
            yield order
            self._busy = False

    def _read_stdin(self) -> None:
        for line in sys.stdin:
            self._orders.put(json.loads(line))
        self._closed.set()
        self._orders.put(None)
        if self._busy:
            os.kill(os.getpid(), signal.SIGTERM)


def main(setting: str) -> None:
    """The worker's process: says that it is ready, then does its orders until there are no more."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _raise_interrupt)
    send_event = _make_event_writer()
    _prefer_for_oom_kill()
    try:
        settings = json.loads(setting)
        inbox = OrderInbox()
        with relaxed_gc():
            from attncli.measure import environment
            from attncli.track import RunStore, load_mlflow

            load_mlflow()
            run_store = RunStore(Path(settings["runs"]), settings["uri"])
            run_order = _make_task_runner(run_store, settings["decorate"], send_event)
        send_event("ready", threads=environment.describe_machine()["threads"])
        for order in inbox:
            outcome = run_order(order)
            send_event("ended", **outcome)
            if outcome["status"] not in ("FINISHED", "OCCUPIED"):
                return
    except KeyboardInterrupt:
        return


def _raise_interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _make_event_writer() -> SendEvent:
    """Return what says an event to the parent; whatever else is printed goes if stderr goes."""
    event_stream = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def send_event(event: str, **values: Any) -> None:
        with suppress(BrokenPipeError):  # a parent that is gone closes stdin as well
            event_stream.write(json.dumps({"event": event, **values}) + "\n")
            event_stream.flush()

    return send_event


def _prefer_for_oom_kill() -> None:
    """Where memory runs out, Linux is to end this process and not the one that would tell of it."""
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("500")


def _make_task_runner(
    run_store: "RunStore", figure_hook: str, send_event: SendEvent
) -> Callable[[TaskOrder], dict[str, str]]:
    """Return what does an order and tells how it ended."""
    from attncli.jobs.tasks import run_task, time_task

    load_dataset = cache_datasets()
    save_figures = resolve_name(figure_hook) if figure_hook else None

    def run_order(order: TaskOrder) -> dict[str, str]:
        recipe = Recipe.model_validate(order["recipe"])
        work = (
            partial(time_task, recipe, runs=run_store.runs, load_dataset=load_dataset)
            if order["timing"]
            else partial(
                run_task,
                recipe,
                run_store=run_store,
                send_event=send_event,
                load_dataset=load_dataset,
                save_figures=save_figures,
                tags=order["tags"],
                timing_threads=order["threads"],
            )
        )
        try:
            with redirected_output(run_store.runs / recipe.compute_digest()):
                return run_and_summarize(work)
        except OSError as error:
            return {"status": "FAILED", "problem": f"{error.filename}: {error.strerror}", "hint": "mend --runs"}

    return run_order


def run_and_summarize(work: Callable[[], object]) -> dict[str, str]:
    """Do it, and tell how it ended; why it was not finished is printed too."""
    from attncli.run import RunInUseError
    from attncli.train import Interrupted

    try:
        work()
    except RunInUseError:
        return {"status": "OCCUPIED"}
    except (KeyboardInterrupt, Interrupted) as error:
        problem = error.problem if isinstance(error, Interrupted) else "stopped"
        print(problem, flush=True)
        return {"status": "KILLED", "problem": problem, "hint": "the same sweep goes on from here"}
    except UserError as error:
        problem, hint = "; ".join(part.problem for part in error.single_errors), error.single_errors[0].hint
        print(f"Error: {problem}\n  hint: {hint}", flush=True)
        return {"status": "FAILED", "problem": problem, "hint": hint}
    except Exception as error:
        traceback.print_exc()
        first_line = (str(error).strip().splitlines() or [""])[0]
        return {"status": "FAILED", "problem": f"{type(error).__name__}: {first_line}", "hint": ""}
    return {"status": "FINISHED"}


@contextmanager
def redirected_output(folder: Path) -> Iterator[None]:
    """Whatever is printed, by Python or a library, is added to output.log in the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    saved_descriptors = [os.dup(1), os.dup(2)]
    with (folder / OUTPUT_LOG).open("ab", buffering=0) as file:
        for number in (1, 2):
            os.dup2(file.fileno(), number)
        try:
            yield
        finally:
            for stream, number, saved_descriptor in (
                (sys.stdout, 1, saved_descriptors[0]),
                (sys.stderr, 2, saved_descriptors[1]),
            ):
                with suppress(OSError):
                    stream.flush()
                os.dup2(saved_descriptor, number)
                os.close(saved_descriptor)


if __name__ == "__main__":
    main(*sys.argv[1:])
