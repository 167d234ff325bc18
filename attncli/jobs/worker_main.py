"""The process of a worker: it does one task after another and keeps what they share (libraries, decoded images).

    python -m attncli.jobs.worker_main SETTINGS

SETTINGS are WorkerSettings as JSON. It reads one request per line on stdin and writes its messages as lines on stdout.

It ends when its stdin ends: if the parent is killed, its workers save a checkpoint and end.
A task that did not finish ends the worker too, so that nothing it left in the process affects another run.
"""

import json
import os
import queue
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from pkgutil import resolve_name
from types import FrameType
from typing import TYPE_CHECKING, Any, TextIO

from attncli.errors import UserError
from attncli.jobs.events import OUTPUT_LOG
from attncli.recipe import Recipe
from attncli.system.fast_exit import exit_fast
from attncli.system.gc_tuning import relaxed_gc
from attncli.system.output_encoding import tolerate_unencodable_text
from attncli.system.process_groups import interrupt_self
from attncli.system.user_exit import make_exit_error

if TYPE_CHECKING:
    from attncli.track import RunStore

TaskRequest = dict[str, Any]
SendEvent = Callable[..., None]


class RequestInbox:
    """The requests of a stream. If it ends in the middle of a task, this process gets a SIGTERM."""

    def __init__(self, stream: Iterable[str]) -> None:
        self._stream = stream
        self._requests: queue.SimpleQueue[TaskRequest | None] = queue.SimpleQueue()
        self._closed = threading.Event()
        self._busy = False
        threading.Thread(target=self._read_stream, daemon=True).start()

    def __iter__(self) -> Iterator[TaskRequest]:
        """Yield the requests one by one; the worker counts as busy until it asks for the next."""
        while (request := self._requests.get()) is not None:
            self._busy = True
            if self._closed.is_set():
                return
            yield request
            self._busy = False

    def _read_stream(self) -> None:
        for line in self._stream:
            self._requests.put(json.loads(line))
        self._closed.set()
        self._requests.put(None)
        if self._busy:
            interrupt_self()


def main(settings_json: str) -> None:
    """Run the worker: send `ready`, then do what is requested until there is no more."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _raise_interrupt)
    tolerate_unencodable_text("utf-8")
    send_event = _make_event_writer()
    _prefer_for_oom_kill()
    try:
        settings = json.loads(settings_json)
        inbox = RequestInbox(_take_over_stdin())
        with relaxed_gc():
            from attncli.measure import environment
            from attncli.track import RunStore, load_mlflow

            load_mlflow()
            run_store = RunStore(Path(settings["runs"]), settings["tracking_uri"])
            run_request = _make_request_runner(run_store, settings["figure_hook"], send_event)
        send_event("ready", threads=environment.describe_machine()["threads"])
        for request in inbox:
            outcome = run_request(request)
            send_event("ended", **outcome)
            if outcome["status"] not in ("FINISHED", "OCCUPIED"):
                return
    except KeyboardInterrupt:
        return


def _raise_interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _take_over_stdin() -> TextIO:
    """Return a stream of what the parent writes, and leave an empty stdin.

    A user's `exit()` closes stdin, which waits as long as a thread reads it; `breakpoint()` would read the requests.
    """
    stream = os.fdopen(os.dup(0), encoding="utf-8")
    empty = os.open(os.devnull, os.O_RDONLY)
    os.dup2(empty, 0)
    os.close(empty)
    return stream


def _make_event_writer() -> SendEvent:
    """Return a function that sends an event to the parent, and redirect stdout to stderr."""
    event_stream = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def send_event(event: str, **values: Any) -> None:
        with suppress(BrokenPipeError):  # if the parent is gone, stdin is closed as well
            event_stream.write(json.dumps({"event": event, **values}) + "\n")
            event_stream.flush()

    return send_event


def _prefer_for_oom_kill() -> None:
    """Make the kernel's OOM killer choose this worker before its parent, which reports the failure."""
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("500")


def _make_request_runner(
    run_store: "RunStore", figure_hook: str, send_event: SendEvent
) -> Callable[[TaskRequest], dict[str, str]]:
    """Return a function that does a request and returns how it ended."""
    from attncli.jobs.tasks import cache_datasets, run_task, time_task
    from attncli.run.identity import describe_named_files, has_changed_files
    from attncli.train.malloc import release_freed_memory

    load_dataset = cache_datasets()
    save_figures = resolve_name(figure_hook) if figure_hook else None

    def run_request(request: TaskRequest) -> dict[str, str]:
        recipe = Recipe.model_validate(request["recipe"])
        if has_changed_files(recipe, request["digest"]):  # the run of the new content is not in the plan
            problem = f"{describe_named_files(recipe)} has changed since the sweep was planned, or is another one here"
            return {"status": "FAILED", "problem": problem, "hint": "the same command plans it again"}
        work = (
            partial(time_task, recipe, runs=run_store.runs, load_dataset=load_dataset)
            if request["timing"]
            else partial(
                run_task,
                recipe,
                run_store=run_store,
                send_event=send_event,
                load_dataset=load_dataset,
                save_figures=save_figures,
                tags=request["tags"],
                timing_threads=request["threads"],
            )
        )
        try:
            with redirected_output(run_store.runs / request["digest"]):
                return run_and_summarize(work)
        except OSError as error:
            return {
                "status": "FAILED",
                "problem": f"{error.filename}: {error.strerror}",
                "hint": "give a folder that can be written: --runs",
            }
        finally:
            release_freed_memory()

    return run_request


def run_and_summarize(work: Callable[[], object]) -> dict[str, str]:
    """Do the work and return how it ended; if it did not finish, also print why."""
    from attncli.run import RunInUseError
    from attncli.train import Interrupted

    try:
        work()
    except RunInUseError:
        return {"status": "OCCUPIED"}
    except (KeyboardInterrupt, Interrupted) as error:
        problem = error.problem if isinstance(error, Interrupted) else "stopped"
        print(problem, flush=True)
        return {"status": "KILLED", "problem": problem, "hint": "the same sweep resumes from here"}
    except UserError as error:
        return _report_failure(error)
    except SystemExit as end:
        if (exit_error := make_exit_error(end)) is None:
            raise
        return _report_failure(exit_error)
    except Exception as error:
        traceback.print_exc()
        first_line = (str(error).strip().splitlines() or [""])[0]
        return {"status": "FAILED", "problem": f"{type(error).__name__}: {first_line}", "hint": ""}
    return {"status": "FINISHED"}


def _report_failure(error: UserError) -> dict[str, str]:
    """Print an error for the log of the run, and return it as the end of the task."""
    problem, hint = "; ".join(part.problem for part in error.single_errors), error.single_errors[0].hint
    print(f"Error: {problem}\n  hint: {hint}", flush=True)
    return {"status": "FAILED", "problem": problem, "hint": hint}


@contextmanager
def redirected_output(folder: Path) -> Iterator[None]:
    """Append everything printed within the block, by Python or a library, to output.log in the folder."""
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
    exit_fast(0)
