"""What only a real GPU can show, in six minutes (`--minutes`) and one table: `python -m tests.device.gpu_check`.

Each part runs in a process of its own and has its share of the time; what an earlier part leaves over, later ones get.
So an error that ends CUDA's context, a crash or a process that hangs takes one row with it, and the others still come.

Whole runs by the command, losses against the CPU, waits of the host, losses of captured steps against usual ones
(`train.graph`), the time of a step on the host and on the device, as it is and captured, CondConv's ways, memory
layouts, maxima of maps, one GPU shared by several processes, two processes on a GPU each, and CIFAR-10 to 94 % if its
files are in the data root. `--only losses,speed` runs a part.
"""

import argparse
import json
import math
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from attncli import attention, data, model, records
from attncli.attention import ops
from attncli.attention.branch import condconv
from attncli.data.build import build_dataset
from attncli.data.dataset import Dataset
from attncli.data.paths import DataPaths
from attncli.errors import RunFailedError, UserError
from attncli.measure.fake_tensors import image_shape
from attncli.measure.paired_timing import time_calls
from attncli.measure.timed_network import prepare_timed_network
from attncli.recipe import Recipe, read
from attncli.records import Epoch, Evaluation, Record, Speed
from attncli.run.naming import make_input_spec
from attncli.system.process_groups import stop_process_tree
from attncli.train import choose_device, evaluate_split, loop, resolve_precision, step_graph
from attncli.train.device import find_accelerator
from attncli.train.distributed import choose_kernels
from attncli.train.session import prepare_session
from attncli.train.step_graph import WARMUP_STEPS
from tests.device.simulated_process import SimulatedProcess
from tests.train import case

BACKBONES, MECHANISMS, BATCHES = ("resnet20", "resnet18"), ("none", "eca", "cbam", "triplet", "gct"), (128, 512)
LOSS_STEPS, SYNC_STEPS = 10, 5
LOSS_TOLERANCE = 2e-3  # relative, of the mean loss of these steps in float32
# So small that rounding hardly grows: at 0.01 a CPU with maps in another layout was off by 2.5e-3 (encnet, 20 steps). A
# power of two, as the rate of a captured step is a float32, that of a usual step a float64.
LOSS_RATE = 2.0**-10
# Mechanisms with which rounding grows so fast that the first loss alone is compared: at 0.001 a CPU with maps in
# another layout was off by 1.7e-2 after 10 steps (aff, odconv). stn samples at the centres of pixels, where bilinear
# sampling has no single gradient, and rounding chooses one.
SENSITIVE = ("aff", "odconv", "stn")
GOAL_TOP1 = 0.94
GOAL_RATES = {("resnet18", "eca", 512): 25_000, ("resnet20", "eca", 512): 100_000}  # images/s on an H100 or H200
# The parts, in their order, and the seconds that each takes of six minutes. Those that a machine may lack come first.
PARTS = {
    "ranks": 70, "cifar": 70, "run": 100, "losses": 70, "waits": 45, "graph": 45, "speed": 50, "share": 50,
    "condconv": 15, "layout": 10, "maxima": 5,
}  # fmt: skip
PARTS_OF_ROWS = ("run", "losses", "waits", "graph", "speed")  # whose rows do not depend on each other
STOP_SECONDS = 15.0  # that a process has to end by itself after its time
ROW_SECONDS = 90.0  # that a row of these may take; then its process is ended, and another one goes on with the next
MOST_DEATHS = 2  # processes of a part in a row that end before their first row
# In errors after which a process is not to be trusted; a capture that failed leaves torch's generator and memory half
# way in it.
LOST_CONTEXT = ("CUDA error", "HIP error", "device-side assert", "Triton Error", "cannot be captured")
TIME_IS_OVER = "left out: the time of this part is over"
# Settings whose steps differ from the plain one's, in rows beside those of the mechanisms.
SETTINGS: dict[str, dict[str, Any]] = {
    "bf16": {"train.precision": "bf16"},
    "fp16, clipped": {"train.precision": "fp16", "train.clip_norm": 1.0},
    "adamw, ema": {"train.optimizer": "adamw", "train.schedule": "cosine", "train.ema": 0.9},
    "two parts": {"train.accumulate": 2, "train.clip_norm": 1.0},
}
DIGITS_RUN = ("--attn", "eca", "--backbone", "resnet20", "--dataset", "digits")
RANKED_RUN = (
    *DIGITS_RUN, "--epochs", "1",
    "--set", "train.precision=fp32", "--set", "train.lr=0.01", "--set", "measure.speed=false",
)  # fmt: skip
WHOLE_RUNS = {"as it is": "train.precision=auto", "captured": "train.graph=true", "fp16": "train.precision=fp16"}
RUNS_ANYWHERE = ("as it is",)  # also on other GPUs than CUDA's
LEAST_TOP1 = 0.5  # of the digits after three epochs, ten classes


@dataclass(frozen=True)
class Row:
    """One line of the table: what was looked at, the figure, and whether it is as it should be (None: no goal)."""

    part: str
    what: str
    figure: str
    is_good: bool | None = None


END = Row("", "", "")  # after the last row of a part


def make_steps(recipe: Recipe, dataset: Dataset, device: torch.device) -> Iterator[torch.Tensor]:
    """Yield the losses of the steps of a training, on the device, for as long as they are asked for."""
    with torch.random.fork_rng(devices=[]):
        net = model.build(recipe, make_input_spec(dataset))
    process = SimulatedProcess(device.type)
    process.device = device
    session = prepare_session(net, dataset, recipe, None, None, process)
    while True:
        session.state.step = 0
        for images, labels in loop.iterate_batches(session):
            loop.run_step(session, images, labels)
            yield session.state.losses[session.state.step - 1]


def make_small_recipe(attn: str, **keys: Any) -> Recipe:
    """Return a recipe of resnet20 and a mechanism for random images of 32 px."""
    values = {"model.attn": attn, "model.backbone": "resnet20", "train.batch_size": 16, "train.precision": "fp32"}
    return read(values=values | {"train.lr": 0.01, "train.schedule": "constant"} | keys)


def make_random_dataset(count: int, size: int) -> Dataset:
    """Return random images whose brightness tells one of ten classes."""
    train = case.split(count, 1, classes=10, size=size)
    return Dataset(
        name="random", classes=tuple("abcdefghij"), size=(size, size), frames=None, mean=(0.4,) * 3, std=(0.2,) * 3,
        train=train, val=None, test=train, digest="0" * 64, origin="drawn", pad=2, flip=True,
    )  # fmt: skip


def list_still_mechanisms() -> list[str]:
    """Return the mechanisms that work on single images."""
    names = attention.mechanism_names()
    return [name for name in names if not attention.describe_mechanism(name).card.site.startswith("frames")]


def make_named_recipe(name: str, **keys: Any) -> Recipe:
    """Return the small recipe of a mechanism, or of one of `SETTINGS` without a mechanism."""
    if name in SETTINGS:
        return make_small_recipe(attention.NONE, **keys | SETTINGS[name])
    return make_small_recipe(name, **keys)


def compare_losses(device: torch.device, names: list[str], *, steps: int = LOSS_STEPS, size: int = 32) -> Iterator[Row]:
    """Compare the mean loss of the first steps in float32 with the CPU's. Mechanisms that draw cannot agree.

    Of those that multiply rounding the first loss is compared.
    """
    dataset = make_random_dataset(64, size)

    def compare(name: str) -> Row:
        means, count = [], 1 if name in SENSITIVE else steps
        for where in (device, torch.device("cpu")):
            running = make_steps(make_small_recipe(name, **{"train.lr": LOSS_RATE}), dataset, where)
            means.append(sum(float(next(running)) for _ in range(count)) / count)
        off = abs(means[0] - means[1]) / abs(means[1])
        draws = bool(getattr(attention.load(name).Attention, "draws", False)) if name != attention.NONE else False
        return Row("losses", name, f"{off:.1e} off the CPU's {means[1]:.4f}", None if draws else off < LOSS_TOLERANCE)

    for name in names:
        yield guard_row("losses", name, partial(compare, name))


def guard_row(part: str, what: str, make: Callable[[], Row]) -> Row:
    """Return the row that `make` returns, or one with the error that it raises, so that the others still come."""
    try:
        return make()
    except Exception as error:
        text = error.problem if isinstance(error, UserError) else str(error)
        first_line = (text.strip().splitlines() or [type(error).__name__])[0]
        return Row(part, what, f"{first_line[:120]} ({name_line(error)})", False)


def name_line(error: BaseException) -> str:
    """Return file and line of the innermost frame in attncli that an error came through."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if "/attncli/" in frame.filename.replace("\\", "/")] or frames
    return f"{Path(own[-1].filename).name}:{own[-1].lineno}"


@contextmanager
def errors_for_waits(device: torch.device) -> Iterator[None]:
    """Let CUDA raise an error wherever the host waits for the device; `device` is one of its GPUs."""
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


def find_waits(device: torch.device, names: list[str], *, size: int = 32) -> Iterator[Row]:
    """Run five steps of each mechanism or setting in the device's own precision; a wait of the host is an error."""
    if device.type != "cuda":
        yield Row("waits", "all", f"nothing tells them on '{device.type}'")
        return
    dataset = make_random_dataset(128, size)

    def find(name: str) -> Row:
        running = make_steps(make_named_recipe(name, **{"train.precision": "auto"}), dataset, device)
        next(running)
        with errors_for_waits(device):
            for _ in range(SYNC_STEPS):
                next(running)
        return Row("waits", name, "none", True)

    for name in names:
        yield guard_row("waits", name, partial(find, name))


def time_steps(device: torch.device, backbone: str, attn: str, batch: int, *, size: int = 32, calls: int = 30) -> Row:
    """Time a training step on the host and on the device, as it is and captured in one CUDA graph."""
    recipe = make_small_recipe(attn, **{"model.backbone": backbone, "train.precision": "auto"})
    precision = resolve_precision("auto", device)
    choose_kernels(device, precision)
    net = model.build(recipe, model.InputSpec(10, (size, size)))
    timed = prepare_timed_network(net, recipe, 10, image_shape(batch, (size, size), None), precision, device)
    rates = [batch * calls / time_calls(timed.train, calls, device)]
    figure = f"{rates[0]:,.0f} images/s; a step {1e3 * batch / rates[0]:.2f} ms"
    host = min(time_host_alone(timed.train, device) for _ in range(5))
    figure += f", the host alone {1e3 * host:.2f} ms"
    if device.type == "cuda":
        try:
            rates.append(time_captured(recipe, net, device, batch, calls, size=size))
            figure += f"; captured {rates[1]:,.0f} images/s"
        except UserError as error:
            figure += f"; not captured: {error.problem[:70]}"
    goal = GOAL_RATES.get((backbone, attn, batch))
    has_goal = goal and device.type == "cuda" and any(n in torch.cuda.get_device_name(device) for n in ("H100", "H200"))
    return Row("speed", f"{backbone} {attn} {batch}", figure, max(rates) > goal if has_goal else None)


def time_host_alone(work: Callable[[], object], device: torch.device) -> float:
    """Return the seconds in which the host starts `work` on an idle device."""
    if device.type != "cpu":
        torch.accelerator.synchronize(device)
    started_at = time.perf_counter()
    work()
    return time.perf_counter() - started_at


def time_captured(
    recipe: Recipe, net: torch.nn.Module, device: torch.device, batch: int, calls: int, *, size: int = 32
) -> float:
    """Return the images/s of a step that is replayed as one CUDA graph. Raises UserError if it cannot be captured."""
    captured = recipe.model_copy(update={"train": recipe.train.model_copy(update={"graph": True})})
    shape, precision = image_shape(batch, (size, size), None), resolve_precision("auto", device)
    timed = prepare_timed_network(net, captured, 10, shape, precision, device)
    for _ in range(WARMUP_STEPS):
        timed.train()
    return batch * calls / time_calls(timed.train, calls, device)


def compare_captured(device: torch.device, names: list[str], *, steps: int = 10, size: int = 32) -> Iterator[Row]:
    """Compare the losses of captured steps with those of usual ones, step by step, random numbers included.

    They are the same bits, unless torch warns that an operation has no fixed order.
    """
    if obstacle := step_graph.find_graph_obstacle(make_small_recipe("none"), device, "fp32"):
        yield Row("graph", "all", obstacle)
        return
    dataset = make_random_dataset(64, size)

    def compare(name: str) -> Row:
        keys = {"train.deterministic": True, "train.lr": LOSS_RATE}
        usual = make_steps(make_named_recipe(name, **keys), dataset, device)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            expected = [float(next(usual)) for _ in range(steps)]
        running = make_steps(make_named_recipe(name, **keys, **{"train.graph": True}), dataset, device)
        try:
            losses = [float(next(running)) for _ in range(steps)]
        except RunFailedError:
            raise
        except UserError as error:  # refused before the training, as for a mechanism with random numbers of its own
            return Row("graph", name, error.problem)
        off = max(abs(a - b) / abs(b) for a, b in zip(losses, expected, strict=True))
        figure = f"off by {off:.1e} at most in {steps} steps"
        if off >= LOSS_TOLERANCE and any("deterministic" in str(warning.message) for warning in caught):
            return Row("graph", name, f"{figure}; an operation of it has no fixed order")
        return Row("graph", name, figure, off < LOSS_TOLERANCE)

    for name in names:
        yield guard_row("graph", name, partial(compare, name))


def time_condconv(device: torch.device, *, batch: int = 128, calls: int = 20) -> Iterator[Row]:
    """Time CondConv's ways to convolve each sample with its own kernel, forward and backward."""
    for width, side in ((64, 8), (16, 32)):
        module = attention.load("condconv").Attention(width, width).experts.to(device)
        x = torch.randn(batch, width, side, side, device=device).to(memory_format=torch.channels_last).requires_grad_()
        shares = torch.rand(batch, len(module.weight), device=device)
        ways: list[Callable[..., torch.Tensor]] = [
            condconv.sum_convolutions, condconv.convolve_grouped, condconv.multiply_batched,
        ]  # fmt: skip
        chosen = condconv.choose_cheapest(module, x)
        seconds = {}
        for way in ways:
            step = partial(_differentiate, way, module, x, shares)
            step()
            seconds[way.__name__] = time_calls(step, calls, device) / calls
        fastest = min(seconds, key=seconds.__getitem__)
        figures = ", ".join(f"{name} {1e3 * value:.2f} ms" for name, value in seconds.items())
        yield Row("condconv", f"{width} channels {side} px", figures, fastest == chosen.__name__)


def _differentiate(way: Callable[..., torch.Tensor], *inputs: Any) -> None:
    way(*inputs).sum().backward()


def time_plane_layouts(device: torch.device, *, batch: int = 128, calls: int = 20) -> Iterator[Row]:
    """Time the 7 x 7 convolution of two planes to one, as in CBAM, in both memory layouts."""
    conv = torch.nn.Conv2d(2, 1, 7, padding=3, bias=False).to(device)
    seconds = {}
    for layout in (torch.channels_last, torch.contiguous_format):
        x = torch.randn(batch, 2, 32, 32, device=device).to(memory_format=layout).requires_grad_()
        step = partial(_differentiate, conv, x)
        step()
        seconds[str(layout).removeprefix("torch.")] = time_calls(step, calls, device) / calls
    figures = ", ".join(f"{name} {1e3 * value:.3f} ms" for name, value in seconds.items())
    yield Row("layout", "7 x 7, 2 to 1 planes", figures)


def time_maxima(device: torch.device, *, batch: int = 128, calls: int = 20) -> Iterator[Row]:
    """Time ways to find the maximum of each map, forward and backward; CBAM's is good if no other is twice as fast."""
    x = torch.randn(batch, 64, 32, 32, device=device).to(memory_format=torch.channels_last).requires_grad_()
    ways: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
        "spatial_max": ops.spatial_max, "max": lambda x: x.flatten(2).max(2).values, "amax": lambda x: x.amax((2, 3)),
    }  # fmt: skip
    seconds = {}
    for name, way in ways.items():
        step = partial(_differentiate, way, x)
        step()
        seconds[name] = time_calls(step, calls, device) / calls
    figures = ", ".join(f"{name} {1e3 * value:.3f} ms" for name, value in seconds.items())
    yield Row("maxima", "64 maps of 32 px", figures, seconds["spatial_max"] < 2 * min(seconds.values()))


def share_gpu(device: torch.device, *, counts: Sequence[int] = (1, 2, 4)) -> Iterator[Row]:
    """Train the same small network in one and in several processes at once: images/s of all together."""
    for count in counts:
        command = [sys.executable, "-m", "tests.device.gpu_check", "--child"]
        children = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(count)]
        rates = [child.communicate()[0].strip() for child in children]
        if any(child.returncode for child in children):
            yield Row("share", f"{count} processes", "a process failed", False)
            return
        yield Row("share", f"{count} processes", f"{sum(map(float, rates)):,.0f} images/s together")


def run_command(*options: str) -> list[Record]:
    """Return the records of `attncli run` in a new folder. Raises RuntimeError with its first line if it fails."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "attncli", "run", "--quiet", *options, "--runs", folder]
        done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        if done.returncode:
            raise RuntimeError((done.stderr.strip() or f"exit code {done.returncode}").splitlines()[0])
        (log,) = Path(folder).glob("*/log.jsonl")
        return records.read(log.parent)


def train_whole_runs(names: Sequence[str]) -> Iterator[Row]:
    """Train, evaluate and time a network by the command that users type, as it is, captured and with a loss scale."""

    def train(name: str) -> Row:
        lines = run_command(*DIGITS_RUN, "--epochs", "3", "--set", WHOLE_RUNS[name], "--set", "measure.seconds=1")
        (test,) = (line for line in lines if isinstance(line, Evaluation) and line.split == "test")
        rates = [f"{line.train_images_per_s:,.0f} images/s" for line in lines if isinstance(line, Speed)]
        figure = f"{test.top1:.1%} of the test images; {rates[0] if rates else 'not timed'}"
        return Row("run", name, figure, test.top1 >= LEAST_TOP1 and bool(rates))

    for name in names:
        yield guard_row("run", name, partial(train, name))


def compare_processes(device: torch.device, *, options: Sequence[str] = ()) -> Iterator[Row]:
    """Compare the loss of an epoch in two processes, on a GPU each, with that in one: `attncli run --processes 2`."""
    if not options and torch.accelerator.device_count() < 2:
        yield Row("ranks", "2 processes", "there is one GPU")
        return
    losses = []
    for processes in ("1", "2"):
        lines = run_command(*RANKED_RUN, *options, "--processes", processes)
        losses += [line.train_loss for line in lines if isinstance(line, Epoch)]
    off = abs(losses[1] - losses[0]) / losses[0]
    yield Row("ranks", "2 processes", f"{off:.1e} off one process's {losses[0]:.4f}", off < LOSS_TOLERANCE)


def train_for_a_while(device: torch.device, *, batch: int = 128, seconds: float = 5.0) -> float:
    """Return the images/s of steps of resnet20 in this process, for so many seconds after the first steps."""
    recipe = make_small_recipe("none", **{"train.precision": "auto", "train.batch_size": batch})
    running = make_steps(recipe, make_random_dataset(4 * batch, 32), device)
    for _ in range(5):
        float(next(running))
    started_at, steps = time.perf_counter(), 0
    while time.perf_counter() - started_at < seconds:
        for _ in range(10):
            loss = next(running)
        float(loss)
        steps += 10
    return steps * batch / (time.perf_counter() - started_at)


def train_cifar(device: torch.device, *, epochs: int = 18) -> Iterator[Row]:
    """Train resnet18 with ECA on CIFAR-10 and tell test accuracy and seconds, if its files are there."""
    keys = {"model.backbone": "resnet18", "data.name": "cifar10", "train.batch_size": 512, "train.epochs": epochs}
    recipe = read(values={"model.attn": "eca", "train.lr": 0.4, "train.label_smoothing": 0.1, "train.ema": 0.99} | keys)
    root = data.find_default_root()
    try:
        dataset = build_dataset(recipe.resolve_data(), DataPaths(None, root, root, may_fetch=False))
    except UserError as error:
        yield Row("cifar", "resnet18 eca", f"not run: {error.problem}")
        return
    process = SimulatedProcess(device.type)
    process.device = device
    started_at = time.perf_counter()
    net = model.build(recipe, make_input_spec(dataset))
    for _ in loop.train_model(net, dataset, recipe, accelerator=process):
        pass
    seconds = time.perf_counter() - started_at
    test = evaluate_split(net, dataset.test, dataset, recipe, name="test", accelerator=process)
    yield Row("cifar", "resnet18 eca", f"{test.top1:.2%} in {seconds:.0f} s", test.top1 >= GOAL_TOP1 and seconds < 60)


def make_rows(part: str, device: torch.device, skip: int = 0) -> Iterator[Row]:
    """Return the rows of a part. Of rows that do not depend on each other, the first `skip` are left out."""
    mechanisms = list_still_mechanisms()
    names = [attention.NONE, *mechanisms][skip:]
    names_and_settings = [attention.NONE, *SETTINGS, *mechanisms][skip:]
    runs = [name for name in WHOLE_RUNS if device.type == "cuda" or name in RUNS_ANYWHERE][skip:]
    networks = [(b, attn, batch) for b in BACKBONES for attn in MECHANISMS for batch in BATCHES][skip:]
    parts_of_rows: dict[str, Callable[[], Iterator[Row]]] = {
        "run": partial(train_whole_runs, runs),
        "losses": partial(compare_losses, device, names),
        "waits": partial(find_waits, device, names_and_settings),
        "graph": partial(compare_captured, device, names_and_settings),
        "speed": lambda: (
            guard_row("speed", " ".join(map(str, network)), partial(time_steps, device, *network))
            for network in networks
        ),
    }
    single_rows = {
        "condconv": time_condconv, "layout": time_plane_layouts, "share": share_gpu, "ranks": compare_processes,
        "cifar": train_cifar, "maxima": time_maxima,
    }  # fmt: skip
    if part in parts_of_rows:
        return parts_of_rows[part]()
    return iter(()) if skip else guard_rows(part, single_rows[part](device))


def guard_rows(part: str, rows: Iterator[Row]) -> Iterator[Row]:
    """Yield the rows; an error ends them with a row that says it."""

    def make_next() -> Row:
        return next(rows, END)

    while (row := guard_row(part, "", make_next)) is not END:
        yield row


def print_part(part: str, seconds: float, skip: int) -> int:
    """Print the rows of a part as JSON, one a line, until its time is over. Return 3 if CUDA's context is lost."""
    warnings.simplefilter("ignore")  # of operations without a fixed order
    end = time.monotonic() + seconds
    for row in make_rows(part, choose_device(), skip):
        print(json.dumps(asdict(row)), flush=True)
        if any(word in row.figure for word in LOST_CONTEXT):
            return 3
        if time.monotonic() > end:
            print(json.dumps(asdict(Row(part, "the rest", TIME_IS_OVER))), flush=True)
            return 0
    return 0


def run_part(part: str, seconds: float) -> Iterator[Row]:
    """Yield the rows that other processes print for a part: another one goes on after a row that ended the last.

    If one after the other ends before its first row, the rest is left out.
    """
    end, count, deaths = time.monotonic() + seconds, 0, 0
    if seconds <= 0:
        yield Row(part, "all", TIME_IS_OVER)
    while (left := end - time.monotonic()) > 0 and deaths < MOST_DEATHS:
        first, is_late = count, threading.Event()
        with tempfile.TemporaryFile("w+", errors="replace") as errors:
            command = [sys.executable, "-m", "tests.device.gpu_check", "--part", part]
            command += ["--until", str(time.time() + left), "--skip", str(count)]
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True)
            row_seconds = ROW_SECONDS if part in PARTS_OF_ROWS else math.inf
            for row in iterate_rows(process, left + STOP_SECONDS, row_seconds, is_late):
                count += 1
                yield row
            code = process.wait()
            if process.stdout:
                process.stdout.close()
            errors.seek(0)
            lines = [line for line in errors.read().splitlines() if line.strip()]
        if code == 0 and not is_late.is_set():  # of a process that was ended, psutil has taken the code
            return
        deaths = deaths + 1 if count == first else 0
        if code != 3:
            reason = "took too long and was ended" if is_late.is_set() else f"ended with exit code {code}"
            yield Row(part, "", f"its process {reason}: {(lines or ['without a word'])[-1][:120]}", False)
            count += 1
    if deaths == MOST_DEATHS:
        yield Row(part, "the rest", "left out: its processes end before their first row", False)


def iterate_rows(
    process: "subprocess.Popen[str]", seconds: float, row_seconds: float, is_late: threading.Event
) -> Iterator[Row]:
    """Yield the rows that a process prints, and wait for its end.

    It is ended, and `is_late` set, if it takes more than `seconds`, or more than `row_seconds` to its next row.
    """
    end = time.monotonic() + seconds
    rows = filter(None, map(read_row, process.stdout or ()))

    def stop_late() -> None:
        is_late.set()
        stop_process_tree(process, 2.0)

    while True:
        timer = threading.Timer(min(row_seconds, max(0.0, end - time.monotonic())), stop_late)
        timer.start()
        row = next(rows, None)
        if row is None:
            process.wait()
        timer.cancel()
        if row is None:
            return
        yield row


def read_row(line: str) -> Row | None:
    """Return the row in a line of a part's process, or None if it is what a library printed."""
    try:
        return Row(**json.loads(line))
    except (ValueError, TypeError):
        return None


def run_parts(parts: Sequence[str], seconds: float) -> Iterator[Row]:
    """Yield the rows of the parts; each has its share of the time that is left."""
    end = time.monotonic() + seconds
    for number, part in enumerate(parts):
        left = max(0.0, end - time.monotonic())
        yield from run_part(part, left * PARTS[part] / sum(PARTS[later] for later in parts[number:]))


def main(arguments: list[str] | None = None) -> int:
    """Print the table row by row; return 0 if everything is as it should be, 1 if not, 2 without a GPU."""
    parser = argparse.ArgumentParser(prog="python -m tests.device.gpu_check", description=__doc__)
    parser.add_argument("--only", default=",".join(PARTS), help=f"parts, of {','.join(PARTS)}")
    parser.add_argument("--minutes", type=float, default=6.0, help="time for all parts together")
    parser.add_argument("--part", help=argparse.SUPPRESS)  # these four are for the processes that this one starts
    parser.add_argument("--until", type=float, help=argparse.SUPPRESS)
    parser.add_argument("--skip", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.child:
        print(train_for_a_while(choose_device()))
        return 0
    if options.part:
        return print_part(options.part, options.until - time.time(), options.skip)
    chosen = options.only.split(",")
    if unknown := [part for part in chosen if part not in PARTS]:
        print(f"Error: --only {unknown[0]}: no such part; there are {', '.join(PARTS)}", file=sys.stderr)
        return 2
    device = find_accelerator()  # nothing runs on it here, so that a GPU for one process is free for the parts
    if device.type == "cpu":
        print("Error: torch finds no GPU here, and this check is for one (`attncli doctor` says why)", file=sys.stderr)
        return 2
    libraries = f"torch {torch.__version__}"
    if device.type == "cuda":
        libraries = f"{torch.cuda.get_device_name(device)}, {libraries}, cuDNN {torch.backends.cudnn.version()}"
    print(f"{device}, {libraries}")
    results = []
    for row in run_parts([part for part in PARTS if part in chosen], 60 * options.minutes):
        results.append(row.is_good)
        sign = {True: "ok", False: "NOT", None: ""}[row.is_good]
        print(f"{row.part:9} {row.what:24} {sign:4} {row.figure}", flush=True)
    print(f"{results.count(True)} as they should be, {results.count(False)} not, {results.count(None)} without a goal")
    return int(False in results)


if __name__ == "__main__":
    raise SystemExit(main())
