"""Run a network without its arithmetic, on tensors that have a shape but no values.

Such tensors pretend to be on the CPU in float32, so the figures are the same on every machine, and a network of any
size takes milliseconds and no memory. A network that cannot run like this, for example because its control flow
depends on values, is copied and run with real tensors.
"""

import copy
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode  # what torch.compile and torch.export rest on
from torch.func import functional_call
from torch.overrides import TorchFunctionMode

T = TypeVar("T")
Network = Callable[[Tensor], Tensor]
NetworkExamination = Callable[
    [Network, Tensor, set[int]], T
]  # (network, images, storages of its own parameters and buffers)
FILLING = (Tensor.normal_, Tensor.uniform_, Tensor.fill_, Tensor.zero_)
_real_runs: list[str] = []  # classes of the networks that were run with real tensors


class SkipFilling(TorchFunctionMode):
    """Skip the filling of tensors without values with initial weights, which takes most of the time of building."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run the function, unless it only fills a tensor of the meta device."""
        if func in FILLING and args[0].device.type == "meta":
            return args[0]
        return func(*args, **(kwargs or {}))


def count_real_runs() -> int:
    """Return how many times this process had to run a network with real tensors."""
    return len(_real_runs)


def image_shape(n: int, size: tuple[int, int], frames: int | None = None) -> tuple[int, ...]:
    """Return (n, 3, H, W), or (n, T, 3, H, W) for clips."""
    return (n, 3, *size) if frames is None else (n, frames, 3, *size)


def run_on_fake_tensors(
    model: nn.Module, shape: tuple[int, ...], examine: NetworkExamination[T], *, training: bool
) -> T:
    """Return what `examine` returns for `model` and images of `shape`; model and random states do not change."""
    with (
        torch.random.fork_rng(devices=[]),
        _switched_mode(model, training),
        _disabled_fused_layers(),
        _eager_mode(model),
    ):
        try:
            return _examine_fake(model, shape, examine)
        except Exception:  # if it is the network's own fault, the run with real tensors raises it again
            _real_runs.append(type(model).__name__)
            real = copy.deepcopy(model).to("cpu", torch.float32)
            return examine(real, torch.randn(shape), {storage_key(t) for t in (*real.parameters(), *real.buffers())})


def storage_key(t: Tensor) -> int:
    """Return a key of the memory of a living tensor, which its views share and no other tensor has."""
    key: int = t.untyped_storage()._cdata
    return key


def _examine_fake(model: nn.Module, shape: tuple[int, ...], examine: NetworkExamination[T]) -> T:
    with FakeTensorMode(allow_non_fake_inputs=True):
        fake_weights = {name: _make_fake_like(t) for name, t in (*model.named_parameters(), *model.named_buffers())}

        def run_network(x: Tensor) -> Tensor:
            logits: Tensor = functional_call(model, fake_weights, (x,))
            return logits

        return examine(run_network, torch.empty(shape), {storage_key(t) for t in fake_weights.values()})


def _make_fake_like(t: Tensor) -> Tensor:
    """Return a tensor without values in place of a parameter or buffer."""
    dtype = torch.float32 if t.is_floating_point() else t.dtype
    return torch.empty(t.shape, dtype=dtype).requires_grad_(t.requires_grad)


def _eager_mode(model: nn.Module) -> AbstractContextManager[Any]:
    """Switch compiled code off: a compiled kernel would read values, which these tensors do not have."""
    compiled = any(m._compiled_call_impl is not None for m in model.modules())
    stance: AbstractContextManager[Any] = torch.compiler.set_stance("force_eager") if compiled else nullcontext()
    return stance


@contextmanager
def _switched_mode(model: nn.Module, training: bool) -> Iterator[None]:
    """Switch the network to training or eval mode, and restore the mode of each module afterwards."""
    before = [(m, m.training) for m in model.modules()]
    model.train(training)
    try:
        yield
    finally:
        for module, was_training in before:
            module.training = was_training


@contextmanager
def _disabled_fused_layers() -> Iterator[None]:
    """Disable kernels that do many operations as one: nn.MultiheadAttention in eval mode, nn.LSTM."""
    fastpath, onednn = torch.backends.mha.get_fastpath_enabled(), torch._C._get_mkldnn_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    torch._C._set_mkldnn_enabled(False)  # torch.backends.mkldnn.flags would set more, and warns about it
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fastpath)
        torch._C._set_mkldnn_enabled(onednn)
