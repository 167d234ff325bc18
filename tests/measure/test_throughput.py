"""The interleaved protocol, and what is timed with it."""

import pytest
import torch
from torch import Tensor, nn

from attncli.errors import RunFailedError
from attncli.measure import host_share, paired_timing, several, throughput
from attncli.measure.paired_timing import time_pairs
from attncli.measure.throughput import measure_throughput
from attncli.model import InputSpec
from attncli.recipe import Recipe, read
from attncli.records import name_speed_limit
from attncli.train import memory_fitting
from tests.measure.nets import Tiny

CPU = torch.device("cpu")


def recipe(**values) -> Recipe:
    """A recipe that is quick to time; dots of keys as two underscores."""
    given = {"measure.seconds": 0.2, "measure.repeats": 3, "train.batch_size": 4, "train.precision": "fp32"}
    return read(values={"model.attn": "se", **given, **{k.replace("__", "."): v for k, v in values.items()}})


class Watched(Tiny):
    """Notes how it was called; copies share the notes."""

    def __init__(self) -> None:
        super().__init__()
        self.notes: list[tuple] = []

    def __deepcopy__(self, memo) -> "Watched":
        other = Watched()
        other.load_state_dict(self.state_dict())
        other.notes = self.notes
        return other

    def forward(self, x: Tensor) -> Tensor:
        """Logits of images or of clips; notes mode, shape, layout and number format."""
        y = self.conv(x if x.ndim == 4 else x.flatten(0, 1))
        last = y.is_contiguous(memory_format=torch.channels_last)
        self.notes.append((self.training, tuple(x.shape), last, y.dtype))
        y = self.fc(torch.relu(y).mean((2, 3)))
        return y if x.ndim == 4 else y.unflatten(0, x.shape[:2]).mean(1)


def test_record_of_a_slower_network(monkeypatch) -> None:
    """Rates, ratios with their intervals, and the circumstances, where a convolution takes 10 ms by the clock."""
    done = []
    plain = nn.Conv2d.forward

    def forward(conv: nn.Conv2d, x: Tensor) -> Tensor:
        done.append(conv)
        return plain(conv, x)

    monkeypatch.setattr(nn.Conv2d, "forward", forward)
    monkeypatch.setattr(paired_timing.time, "perf_counter", lambda: 0.01 * len(done))
    slow = Tiny(nn.Sequential(*(nn.Conv2d(4, 4, 3, padding=1) for _ in range(3))))
    found = measure_throughput(slow, Tiny(), recipe(measure__batch_size=8), 5, (8, 8))
    rates = (found.train_images_per_s, found.infer_images_per_s)
    plains = (found.baseline_train_images_per_s, found.baseline_infer_images_per_s)
    assert (rates, plains) == (pytest.approx((200, 200)), pytest.approx((800, 800)))
    train = (found.train_ratio_low, found.train_ratio, found.train_ratio_high)
    infer = (found.infer_ratio_low, found.infer_ratio, found.infer_ratio_high)
    assert (train, infer) == (pytest.approx((0.25, 0.25, 0.25)), pytest.approx((0.25, 0.25, 0.25)))
    assert (found.batch_size, found.precision, found.device, found.repeats) == (8, "fp32", "cpu", 9)
    assert found.threads == torch.get_num_threads()
    assert found.peak_memory_bytes is None


def test_networks_are_left_as_they_were() -> None:
    """Weights, statistics, gradients, modes and random states are what they were."""
    net, plain = Tiny(nn.BatchNorm2d(4)).eval(), Tiny()
    before = {k: v.clone() for k, v in net.state_dict().items()}
    state = torch.random.get_rng_state()
    measure_throughput(net, plain, recipe(), 5, (8, 8))
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())
    assert all(p.grad is None for p in net.parameters())
    assert not net.training
    assert torch.equal(state, torch.random.get_rng_state())


@pytest.mark.parametrize(("channels_last", "precision"), [(True, "bf16"), (False, "fp32")])
def test_timed_as_trained(channels_last: bool, precision: str) -> None:
    """Batch, memory layout and number format are the recipe's, in training and in inference."""
    net = Watched()
    measure_throughput(net, Tiny(), recipe(train__channels_last=channels_last, train__precision=precision), 5, (8, 8))
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    assert set(net.notes) == {(training, (4, 3, 8, 8), channels_last, dtype) for training in (True, False)}


def test_precision_may_be_given() -> None:
    """A precision given beside the recipe is the one that is timed and told."""
    assert measure_throughput(Tiny(), Tiny(), recipe(), 5, (8, 8), precision="bf16").precision == "bf16"


def test_clips_are_batches_of_frames() -> None:
    """With frames the images are (b, T, 3, H, W), each frame in the layout of the recipe."""
    net = Watched()
    measure_throughput(net, net, recipe(), 5, (8, 8), frames=3)
    assert {note[1:3] for note in net.notes} == {((4, 3, 3, 8, 8), True)}


def test_own_loss_is_what_is_trained(monkeypatch: pytest.MonkeyPatch) -> None:
    """A network with a loss of its own is trained with it."""
    monkeypatch.setattr("attncli.train.loss.is_whole_network", lambda name: True)
    called = []

    class Own(Tiny):
        def loss(self, x: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
            called.append(tuple(target.shape))
            y = self(x)
            return y.square().mean(), y

    measure_throughput(Own(), Tiny(), recipe(), 5, (8, 8))
    assert set(called) == {(4,)}


def test_step_includes_optimiser_and_clipping(monkeypatch) -> None:
    """A training step of the protocol ends in the optimiser's step, after clipping where the recipe clips."""
    calls = []
    monkeypatch.setattr(torch.optim.SGD, "step", lambda self, *a, **k: calls.append("step"))
    monkeypatch.setattr(nn.utils, "clip_grad_norm_", lambda *a: calls.append("clip"))
    one, _ = throughput.prepare_network_pair(Tiny(), Tiny(), recipe(train__clip_norm=1.0), 5, (4, 3, 8, 8), "fp32", CPU)
    calls.clear()
    one.train()
    assert calls == ["clip", "step"]


def test_pairs_alternate_and_share_the_work(monkeypatch) -> None:
    """Pairs are timed in turn, every other one in reverse; the trial that sets the length does not count."""
    order = []

    def seconds(work, calls, device) -> float:
        order.append((work.__name__, calls))
        return calls * (2.0 if work.__name__ == "a" else 1.0) * (10 if len(order) <= 2 else 1)

    def a() -> None: ...
    def b() -> None: ...

    monkeypatch.setattr(paired_timing, "time_calls", seconds)
    pairs = time_pairs(a, b, CPU, budget=1000.0, repeats=10)
    assert [name for name, _ in order] == ["a", "b", *["a", "b", "b", "a"] * 5]
    assert pairs == [(2.0, 1.0)] * 10
    assert paired_timing.compute_ratio_interval(pairs) == (0.5, 0.5, 0.5)


@pytest.mark.parametrize(
    ("step", "budget", "calls", "pairs"),
    [(0.001, 5.0, 100, 12), (0.5, 12.0, 1, 12), (0.5, 10.0, 1, 10), (10.0, 5.0, 1, 9), (0.02, 0.48, 1, 12)],
)
def test_length_fits_the_budget(monkeypatch, step: float, budget: float, calls: int, pairs: int) -> None:
    """Quick work is repeated to last a tenth of a second, slow work gets fewer pairs, never under nine."""
    seen = []
    monkeypatch.setattr(paired_timing, "time_calls", lambda work, n, device: seen.append(n) or n * step)
    assert len(time_pairs(lambda: None, lambda: 1, CPU, budget, 12)) == pairs
    assert set(seen[2:]) == {calls}


@pytest.mark.parametrize(("step", "batch"), [(0.01, 128), (0.2, 32), (0.8, 16), (50.0, 16)])
def test_batch_shrinks_to_the_time_on_a_cpu(monkeypatch, step: float, batch: int) -> None:
    """The recipe's batch is halved until nine pairs fit, down to 16; one that is asked for stays."""
    monkeypatch.setattr(throughput, "time_calls", lambda work, n, device: step)

    def prepare_pair(batch: int) -> throughput.NetworkPair:
        return (throughput.TimedNetwork(Tiny(), max, min),) * 2

    given = {"train__batch_size": 128, "measure__seconds": 20.0}
    assert throughput._prepare_fitting_pair(prepare_pair, 128, recipe(**given), CPU)[0] == batch
    asked = recipe(**given, measure__batch_size=100)
    assert throughput._prepare_fitting_pair(prepare_pair, 100, asked, CPU)[0] == 100


@pytest.mark.parametrize(
    ("host", "limit"), [((0.5, 0.2), "device"), ((0.95, 0.2), "host"), ((0.2, 0.9), "host"), ((None, None), None)]
)
def test_limit_of_a_ratio(host: tuple[float | None, float | None], limit: str | None) -> None:
    """A ratio is one of the device only if neither of its two steps waits for the host."""
    assert name_speed_limit(*host) == limit


def test_host_is_timed_on_an_idle_device(monkeypatch) -> None:
    """Only the time to start one step counts, after the device is idle; on a CPU there is no such time."""
    clock, steps = [0.0], iter([0.009, 0.002, 0.004, 0.003, 0.005])

    def synchronize(device: torch.device) -> None:
        clock[0] += 100.0

    def start_step() -> None:
        clock[0] += next(steps)

    monkeypatch.setattr(torch.cuda, "synchronize", synchronize)
    monkeypatch.setattr(host_share.time, "perf_counter", lambda: clock[0])
    (share,) = host_share.measure_host_shares([start_step], [[0.01], [0.008], [0.012]], torch.device("cuda", 0))
    assert share == pytest.approx(0.4)
    assert host_share.measure_host_share(start_step, 0.01, CPU) is None


def test_record_says_what_was_the_limit(monkeypatch) -> None:
    """The shares of network and baseline, in training and inference, stand in their fields."""
    shares = iter([[0.1, 0.95], [0.3, 0.4]])
    monkeypatch.setattr(throughput, "measure_host_shares", lambda steps, rounds, device: next(shares))
    monkeypatch.setattr(throughput, "time_pairs", lambda *given: [(1.0, 1.0)] * 9)
    speed = measure_throughput(Tiny(), Tiny(), recipe(measure__batch_size=2), 5, (8, 8))
    assert (speed.train_host_share, speed.baseline_train_host_share, speed.train_limit) == (0.1, 0.95, "host")
    assert (speed.infer_host_share, speed.baseline_infer_host_share, speed.infer_limit) == (0.3, 0.4, "device")


class Full(Tiny):
    """A network for which only `room` images have memory; copies share the sizes of the batches that were tried."""

    def __init__(self, room: int, tried: list[int]) -> None:
        super().__init__()
        self.room, self.tried = room, tried

    def __deepcopy__(self, memo) -> "Full":
        return Full(self.room, self.tried)

    def forward(self, x: Tensor) -> Tensor:
        """Logits, or the error of a GPU whose memory is full."""
        self.tried.append(len(x))
        if len(x) > self.room:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return super().forward(x)


def test_batch_is_halved_until_it_fits_into_memory() -> None:
    """Eight processes share a batch of 128: 16 images are tried, then 8 and 4, which fit."""
    tried: list[int] = []
    given = {"train__batch_size": 128, "measure__seconds": 0.01}
    found = measure_throughput(Full(4, tried), Tiny(), recipe(**given), 5, (8, 8), processes=8)
    assert (found.batch_size, list(dict.fromkeys(tried))) == (4, [16, 8, 4])


def test_memory_that_never_suffices_is_an_error_in_words() -> None:
    """A batch that the recipe fixes is not halved, and without room for one image there is no speed."""
    for room, values, batches in ((4, {"measure__batch_size": 8}, [8]), (0, {"train__batch_size": 2}, [2, 1])):
        tried: list[int] = []
        with pytest.raises(RunFailedError, match="out of memory while timing"):
            measure_throughput(Full(room, tried), Tiny(), recipe(**values), 5, (8, 8))
        assert list(dict.fromkeys(tried)) == batches


@pytest.mark.parametrize(("room", "batches"), [(40, [128, 64, 32]), (0, [128, 64, 32, 16, 8, 4, 2, 1])])
def test_networks_side_by_side_share_a_batch_that_fits(
    monkeypatch: pytest.MonkeyPatch, room: int, batches: list[int]
) -> None:
    """On a GPU the batch of all networks is halved until it fits; without room for one image it is said in words."""
    tried: list[int] = []

    def prepare(net: object, recipe: object, classes: int, shape: tuple[int, ...], *others: object) -> object:
        tried.append(shape[0])
        if shape[0] > room:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return shape[0]

    monkeypatch.setattr(several, "prepare_timed_network", prepare)
    monkeypatch.setattr(several.model, "build", lambda *given: None)
    device, spec = torch.device("cuda", 0), InputSpec(5, (32, 32))
    monkeypatch.setattr(memory_fitting, "empty_device_cache", lambda device: None)
    if room:
        assert several._prepare_at_common_batch([recipe()] * 2, spec, "fp32", device) == (32, [32, 32])
    else:
        with pytest.raises(RunFailedError, match="out of memory while timing 2 networks of 32 x 32 px on cuda:0"):
            several._prepare_at_common_batch([recipe()] * 2, spec, "fp32", device)
    assert list(dict.fromkeys(tried)) == batches


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_is_timed_by_events_with_its_memory() -> None:
    """On CUDA the record holds the peak memory of each network alone."""
    heavy = Tiny(nn.Sequential(nn.Conv2d(4, 64, 3, padding=1), nn.Conv2d(64, 4, 3, padding=1)))
    found = measure_throughput(heavy, Tiny(), recipe(), 5, (32, 32), device=torch.device("cuda"))
    assert found.peak_memory_bytes is not None
    assert found.baseline_peak_memory_bytes is not None
    assert found.peak_memory_bytes > found.baseline_peak_memory_bytes > 0
    assert found.device == "cuda"
