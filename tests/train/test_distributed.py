"""Two processes (gloo) do what one does."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
import torch
from torch import nn

from attncli.data.dataset import Split
from attncli.errors import RunFailedError, UserError
from attncli.model import build
from attncli.run.naming import make_input_spec
from attncli.train import AllRanksError, Interrupted, distributed, evaluate_split, init_accelerator, train_model
from attncli.train.session import prepare_session
from tests.train.case import Net, Signalling, dataset, figures, net, recipe, run

TWO = """
import json, sys, torch
from pathlib import Path
from attncli.errors import UserError
from attncli.train import Interrupted, evaluate_split, init_accelerator, monitor
from tests.train import case, norms
from tests.train.test_distributed import ATTENDED, Dry, Partial, Smooth, attended, dry, halves

out, folder = Path(sys.argv[1]), Path(sys.argv[2])
accelerator = init_accelerator()
rank = accelerator.process_index
found = {"processes": accelerator.num_processes, "threads": torch.get_num_threads()}
torch.set_num_threads(1)

model = case.net(Smooth)
found["smooth"] = case.figures(case.run(model, case.recipe(**halves)))
found["weights"] = [p.tolist() for p in model.parameters()]
data = case.dataset()
found["test"] = evaluate_split(model, data.test, data, case.recipe(), name="test").confusion

normed = case.net()
found["normed"] = case.figures(case.run(normed, case.recipe(ema=0.9)))
found["statistics"] = normed.norm.running_mean.tolist()

monitor.CHECK_STEPS = 2
broken = case.net(case.Signalling, at=8 if rank else 99)
try:
    case.run(broken, case.recipe(ema=0.9), folder)
except Interrupted as error:
    found["interrupted"] = error.problem
resumed = case.net()
found["resumed"] = case.figures(case.run(resumed, case.recipe(ema=0.9), folder, resume=True))
found["resumed statistics"] = resumed.norm.running_mean.tolist()

found["norms"] = {name: norms.errors(getattr(torch, name)) for name in ("float32", "bfloat16")}
found["attended"] = {attn: attended(attn) for attn in ATTENDED}
for name, at in (("handed", 8 if rank else 99), ("given", 99)):
    try:
        found[name] = case.figures(case.run(case.net(Dry, at=at), dry, out / name, resume=name == "given"))
    except Interrupted as error:
        found[name] = error.problem
try:
    case.run(case.net(), case.recipe(batch_size=7))
except UserError as error:
    found["odd"] = error.problem
try:
    case.run(case.net(Partial), case.recipe())
except UserError as error:
    found["partial"] = [error.problem, error.hint]
(out / f"{rank}.json").write_text(json.dumps(found))
torch.distributed.destroy_process_group()
"""

halves = {"clip_norm": 0.3, "optimizer": "adamw", "lr": 0.01, "channels_last": False}


class Smooth(Net):
    """A net that treats each image by itself: no statistics of the batch, no draws."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.drop = nn.GroupNorm(2, 8), nn.Dropout(0.0)


class Partial(Net):
    """A net with a second head that nothing uses."""

    def __init__(self) -> None:
        super().__init__()
        self.second_head = nn.Linear(8, 4)


class Dry(Signalling):
    """A net with a batch norm and no draws."""

    def __init__(self, at: int) -> None:
        super().__init__(at)
        self.drop = nn.Dropout(0.0)


dry = recipe(ema=0.9)
ATTENDED = ("cbam", "bam")


class Float64(nn.Module):
    """A network in float64, where the rounding of no CPU grows into a difference that anyone could mistake for one."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network.double()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The network's logits of images (N, 3, H, W) of any type."""
        return self.network(x.double())


def attended(attn: str) -> list[list[float]]:
    """What a resnet20 with attention that has batch norms of its own comes to: losses, accuracies, final weights."""
    made = recipe(batch_size=10)
    made = made.model_copy(update={"model": made.model.model_copy(update={"backbone": "resnet20", "attn": attn})})
    data = dataset()
    model = Float64(build(made, make_input_spec(data)))
    epochs = list(train_model(model, data, made))
    test = evaluate_split(model, data.test, data, made, name="test")
    weights = [value.double().norm().item() for value in model.state_dict().values()]
    return [*map(list, figures(epochs)), [test.loss, test.top1], weights]


def free_port() -> int:
    """A port that nobody uses at this moment."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


@pytest.fixture(scope="module")
def two(tmp_path_factory) -> list[dict]:
    """What each of two processes found."""
    out = tmp_path_factory.mktemp("two")
    with pytest.raises(Interrupted):
        run(net(Dry, at=8), dry, out / "given")
    shared = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    started = [
        subprocess.Popen(
            [sys.executable, "-c", TWO, str(out), str(out / "run")],
            env=os.environ | shared | {"RANK": str(rank), "LOCAL_RANK": str(rank), "OMP_NUM_THREADS": "1"},
            cwd=Path(__file__).parents[2],
            stderr=subprocess.PIPE,
        )
        for rank in range(2)
    ]
    errors = [p.communicate(timeout=600)[1].decode() for p in started]
    assert [p.returncode for p in started] == [0, 0], errors
    return [json.loads((out / f"{rank}.json").read_text()) | {"out": str(out)} for rank in range(2)]


def close(a, b, rel: float = 2e-5) -> bool:
    """Whether two lists of figures agree to rounding."""
    return all(x == pytest.approx(y, rel=rel, abs=1e-7) for x, y in zip(a, b, strict=True))


def test_both_take_part(two):
    """There are two processes, and they agree on every figure."""
    assert [found["processes"] for found in two] == [2, 2]
    for key in ("smooth", "weights", "test", "normed", "resumed", "attended", "given"):
        assert two[0][key] == two[1][key]


def test_gradients_are_those_of_the_whole_batch(two):
    """Two halves of a batch move the weights as the whole batch does in one process."""
    model = net(Smooth)
    epochs = run(model, recipe(**halves))
    assert close([tuple(f) for f in two[0]["smooth"]], figures(epochs))
    for theirs, p in zip(two[0]["weights"], model.parameters(), strict=True):
        torch.testing.assert_close(torch.tensor(theirs), p.detach(), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("dtype", "limit"), [("float32", 1e-5), ("bfloat16", 0.03)])
def test_every_kind_of_batch_norm(two, dtype, limit):
    """Outputs, gradients and running statistics of two parts are those of torch's norm over both, to rounding."""
    assert {name: off for found in two for name, off in found["norms"][dtype].items() if not off < limit} == {}


@pytest.mark.parametrize("attn", ATTENDED)
def test_batch_norms_see_the_whole_batch(two, attn):
    """Losses, accuracies and weights of a network full of batch norms are those of one process."""
    assert close(two[0]["attended"][attn], attended(attn), rel=1e-4)


def test_a_checkpoint_passes_between_one_process_and_two(two):
    """What two processes left goes on in one, and the other way round, to the figures of one undisturbed."""
    undisturbed = figures(run(net(Dry, at=99), dry))
    assert two[0]["handed"].startswith("stopped by")
    assert close(figures(run(net(Dry, at=99), dry, Path(two[0]["out"]) / "handed", resume=True)), undisturbed)
    assert close([tuple(f) for f in two[0]["given"]], undisturbed)


def test_every_image_counts_once(two):
    """Thirteen images over two processes are thirteen, in the same cells as in one."""
    model, data = net(Smooth), dataset()
    run(model, recipe(**halves))
    assert two[0]["test"] == evaluate_split(model, data.test, data, recipe(), name="test").confusion


def test_a_signal_to_one_stops_both(two):
    """A signal that only the second process gets stops both at the same step, with a checkpoint."""
    assert two[0]["interrupted"] == "stopped by another process at epoch 2, step 4"
    assert two[1]["interrupted"] == "stopped by SIGINT at epoch 2, step 4"


def test_resumes_to_the_same_figures(two):
    """Stopped and resumed, both end where the undisturbed training does, running statistics included."""
    assert two[0]["resumed"] == two[0]["normed"]
    assert [found["resumed statistics"] for found in two] == [two[0]["statistics"]] * 2


def test_an_odd_batch_is_refused(two):
    """A batch that does not divide would weigh images unequally."""
    assert two[0]["odd"].startswith("train.batch_size: 7 images ")


def test_parameters_without_gradients_are_told(two):
    """One process trains such a network; several end alike in a line that says so."""
    run(net(Partial), recipe(epochs=1))
    for found in two:
        problem, hint = found["partial"]
        assert "only some of the parameters" in problem
        assert "one process" in hint


def test_cores_are_shared_out(monkeypatch):
    """Each of the processes of a machine gets its share of the cores, at least one."""
    monkeypatch.setattr(distributed.os, "sched_getaffinity", lambda pid: set(range(12)), raising=False)
    monkeypatch.setattr(psutil, "cpu_count", lambda logical: 8)
    assert [distributed.threads_per_rank(n) for n in (1, 2, 3, 20)] == [8, 4, 2, 1]


def test_a_launch_that_failed_in_silence(monkeypatch):
    """Announced processes that are not there are an error, not several trainings side by side."""
    for name, value in {"WORLD_SIZE": "2", "RANK": "0", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(distributed, "Accelerator", lambda **options: SimpleNamespace(num_processes=1))
    with pytest.raises(UserError, match="WORLD_SIZE is 2, yet"):
        init_accelerator()


def test_one_process_is_the_plain_case():
    """Without a launcher there is one process, on this machine's device."""
    accelerator = init_accelerator()
    assert accelerator.num_processes == 1
    assert distributed.combine_flags(accelerator, True, False) == [True, False]


@pytest.mark.parametrize(
    ("limit", "omp_threads", "threads"), [(2, "", 2), (9, "", 3), (None, "", 3), (2, "3", 3)], ids=str
)
def test_one_process_has_no_more_threads_than_its_container_has_processors(limit, omp_threads, threads, monkeypatch):
    """torch takes a thread for each core that it sees; what the user asks for stays."""
    monkeypatch.setenv("OMP_NUM_THREADS", omp_threads)
    monkeypatch.setattr(distributed, "read_cpu_limit", lambda: limit)
    torch.set_num_threads(3)
    init_accelerator()
    assert torch.get_num_threads() == threads


@pytest.fixture
def switches(monkeypatch):
    """What the switches of CUDA's kernels are; they are put back after the test."""
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":16:8")
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    before = cudnn.benchmark, cudnn.deterministic, cudnn.allow_tf32, matmul.allow_tf32
    cudnn.benchmark, cudnn.deterministic, cudnn.allow_tf32, matmul.allow_tf32 = False, False, True, True
    yield lambda: (cudnn.benchmark, cudnn.deterministic, cudnn.allow_tf32, matmul.allow_tf32)
    cudnn.benchmark, cudnn.deterministic, cudnn.allow_tf32, matmul.allow_tf32 = before
    torch.use_deterministic_algorithms(False)


def test_kernels_are_chosen_on_cuda_alone(switches):
    """The fastest kernels are looked for on CUDA; a CPU leaves the switches as they are."""
    distributed.choose_kernels(torch.device("cpu"), "fp32")
    assert switches() == (False, False, True, True)
    distributed.choose_kernels(torch.device("cuda"), "bf16")
    assert switches() == (True, False, False, False)


def test_fp32_is_fp32_and_tf32_is_named(switches):
    """Only the precision tf32 rounds what convolutions and matrix products multiply."""
    for precision, expected in (("tf32", True), ("fp32", False), ("fp16", False)):
        distributed.choose_kernels(torch.device("cuda"), precision)
        assert switches()[2:] == (expected, expected)


def test_deterministic_kernels_are_switched_on_and_off_again(switches):
    """The next training of the same process searches for fast kernels again."""
    distributed.choose_kernels(torch.device("cuda"), "fp32", deterministic=True)
    assert switches()[:2] == (False, True)
    assert torch.are_deterministic_algorithms_enabled()
    distributed.choose_kernels(torch.device("cuda"), "fp32")
    assert switches()[:2] == (True, False)
    assert not torch.are_deterministic_algorithms_enabled()


def test_images_lie_where_dataset_puts_them(monkeypatch):
    """Training takes its batches from the dataset as moved to the device, as far as that has room."""
    moved = dataset(n=30)
    asked = []
    monkeypatch.setattr(type(moved), "to", lambda self, device: (asked.append(device), moved)[1])
    job = prepare_session(net(), dataset(), recipe(), None, None, init_accelerator())
    assert job.dataset is moved
    assert asked == [distributed.resolve_device(job.accelerator)]


@pytest.mark.parametrize(("held", "is_moved"), [(4000, True), (1000, False)])
def test_memory_that_torch_keeps_for_later_is_free(monkeypatch, held, is_moved):
    """The second run of a worker finds its GPU full of what the first one left; its images go there all the same."""
    images = dataset(n=30)
    size = sum(split.images.nbytes for split in (images.train, images.val, images.test) if split is not None)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (size, 8 * size))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 500 + held * size // 2000)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 500)
    monkeypatch.setattr(Split, "to", lambda self, device: Split(self.images.clone(), self.labels))
    assert (images.to(torch.device("cuda", 0)) is not images) == is_moved


def test_a_gpu_that_others_hold_is_said_in_a_line(monkeypatch):
    """One of several processes meets it at its first tensor, before any training."""

    def fail(*_, **__):
        raise RuntimeError("CUDA error: out of memory\nCompile with")

    monkeypatch.setattr(torch, "zeros", fail)
    with pytest.raises(RunFailedError, match=r"cuda:1: CUDA error: out of memory$"):
        distributed.resolve_device(SimpleNamespace(device=torch.device("cuda", 1)))


def test_processes_that_do_not_find_each_other(monkeypatch):
    """A port that is taken, or a machine that cannot be reached, is said in a line."""
    taken = torch.distributed.DistNetworkError("The server socket has failed to listen on port: 29500\nmore")

    def refuse(**options):
        raise taken

    monkeypatch.setattr(distributed, "Accelerator", refuse)
    with pytest.raises(AllRanksError, match=r"cannot connect: .* port: 29500$"):
        init_accelerator()
