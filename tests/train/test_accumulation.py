"""A batch in parts: the gradients of the whole, norms of the parts."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.amp.grad_scaler import GradScaler

from attncli.errors import UserError
from attncli.train import session
from attncli.train.accumulation import accumulate_gradients
from attncli.train.training_step import prepare_step
from tests.train.case import Net, figures, net, recipe, run
from tests.train.test_distributed import Smooth


class Loss(nn.Module):
    """The mean square of a layer's outputs; `parts` are the sizes of what it got."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.parts = nn.Linear(3, 1), []
        nn.init.constant_(self.layer.weight, 0.5)
        nn.init.zeros_(self.layer.bias)

    def forward(self, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """The mean over a part."""
        self.parts.append(len(images))
        return (self.layer(images)[:, 0] - labels).square().mean()


@pytest.mark.parametrize(("parts", "sizes"), [(1, [10]), (2, [5, 5]), (5, [2] * 5), (4, [3, 3, 3, 1])])
def test_gradients_are_those_of_the_whole_batch(parts: int, sizes: list[int]) -> None:
    """Whatever the number of parts, and if the last one is smaller."""
    x, y = torch.arange(30.0).view(10, 3) / 30, torch.linspace(0, 1, 10)
    whole, divided = Loss(), Loss()
    whole(x, y).backward()
    loss = accumulate_gradients(divided, x, y, GradScaler("cpu", enabled=False), parts)
    assert divided.parts == sizes
    torch.testing.assert_close(loss, whole(x, y).detach())
    for a, b in zip(divided.parameters(), whole.parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad)


def test_gradients_are_exchanged_after_the_last_part() -> None:
    """Several processes wait for each other once in a step."""
    objective, calls = Loss(), []

    def no_sync() -> SimpleNamespace:
        calls.append(len(objective.parts))
        return torch.enable_grad()

    objective.no_sync = no_sync
    accumulate_gradients(objective, torch.ones(6, 3), torch.ones(6), GradScaler("cpu", enabled=False), 3)
    assert calls == [0, 1]


def test_training_without_norms_over_the_batch_is_the_same() -> None:
    """Losses and accuracies of a whole training agree with those of undivided batches."""
    one, two = (figures(run(net(Smooth), recipe(accumulate=parts, clip_norm=0.3))) for parts in (1, 2))
    for a, b in zip(one, two, strict=True):
        assert a == pytest.approx(b, rel=1e-4, abs=1e-6)


def test_running_statistics_move_for_each_part() -> None:
    """That is what "norms see the parts" means: two batches of four count twice."""
    networks = [net(Net) for _ in range(2)]
    for network, parts in zip(networks, (1, 2), strict=True):
        run(network, recipe(accumulate=parts, epochs=1))
    assert [int(network.norm.num_batches_tracked) for network in networks] == [6, 12]


def test_more_parts_than_images_are_refused() -> None:
    """The key is named, with the largest value."""
    with pytest.raises(UserError, match=r"train\.accumulate: 9 parts of a batch of 8 images") as caught:
        run(net(), recipe(accumulate=9))
    assert "at most 8" in caught.value.hint


@pytest.mark.parametrize("mode", ["reduce-overhead", "max-autotune"])
def test_parts_and_graphs_of_the_compiler_are_refused_on_a_gpu(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before the run and before a timing; without graphs, without parts and on a CPU they pass."""
    monkeypatch.setattr(session.distributed, "resolve_device", lambda accelerator: accelerator.device)
    gpu, cpu = (SimpleNamespace(device=torch.device(name), num_processes=1) for name in ("cuda", "cpu"))
    both = recipe(accumulate=2, compile=mode)
    with pytest.raises(UserError, match=rf"train\.accumulate=2: .* train\.compile={mode}") as caught:
        session.check_trainable(both, gpu)
    assert "train.compile=true" in caught.value.hint
    with pytest.raises(UserError, match=r"train\.accumulate=2"):
        prepare_step(net(), both, (8, 8), gpu.device, "fp32")
    for other, accelerator in (
        (recipe(accumulate=2, compile=True), gpu), (recipe(compile=mode), gpu), (both, cpu),
    ):  # fmt: skip
        assert session.check_trainable(other, accelerator) == "fp32"


def test_default_is_no_part_of_the_digest() -> None:
    """Recipes that do not use the key keep their digest; those that use it have another."""
    assert recipe(accumulate=1).compute_digest() == recipe().compute_digest() != recipe(accumulate=2).compute_digest()
