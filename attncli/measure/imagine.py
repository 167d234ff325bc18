"""Run a network without its arithmetic: every operation happens on tensors that have a shape and no numbers.

Such tensors claim to lie on the CPU in float32, so figures taken from them are the same on every machine, and
a network of any size takes milliseconds and no memory. A network that can't be run so, for example because it
decides by the numbers it sees, is run in earnest, on a copy.
"""

import copy
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode  # what torch.compile and torch.export rest on
from torch.func import functional_call

T = TypeVar("T")
Network = Callable[[Tensor], Tensor]
Look = Callable[[Network, Tensor, set[int]], T]  # (network, images, storages of its own parameters and buffers)
_earnest: list[str] = []  # the networks that were, by class


def in_earnest() -> int:
    """How many times a network had to be run in earnest, so far in this process."""
    return len(_earnest)


def image_shape(n: int, size: tuple[int, int], frames: int | None = None) -> tuple[int, ...]:
    """(n, 3, H, W), or (n, T, 3, H, W) for clips."""
    return (n, 3, *size) if frames is None else (n, frames, 3, *size)


def observe(model: nn.Module, shape: tuple[int, ...], look: Look[T], *, training: bool) -> T:
    """What `look` returns for `model` and images of `shape`; the model stays as it is, and so do random states."""
    with torch.random.fork_rng(devices=[]), _mode(model, training), _without_shortcuts(), _eager(model):
        try:
            return _imagined(model, shape, look)
        except Exception:  # whatever it was: if it is the network's own fault, the run in earnest raises it again
            _earnest.append(type(model).__name__)
            real = copy.deepcopy(model).to("cpu", torch.float32)
            return look(real, torch.randn(shape), {storage(t) for t in (*real.parameters(), *real.buffers())})


def storage(t: Tensor) -> int:
    """What tells the memory of a living tensor from that of any other; views share it."""
    key: int = t.untyped_storage()._cdata
    return key


def _imagined(model: nn.Module, shape: tuple[int, ...], look: Look[T]) -> T:
    with FakeTensorMode(allow_non_fake_inputs=True):
        own = {name: _like(t) for name, t in (*model.named_parameters(), *model.named_buffers())}

        def network(x: Tensor) -> Tensor:
            logits: Tensor = functional_call(model, own, (x,))
            return logits

        return look(network, torch.empty(shape), {storage(t) for t in own.values()})


def _like(t: Tensor) -> Tensor:
    """A tensor without numbers in place of a parameter or buffer."""
    dtype = torch.float32 if t.is_floating_point() else t.dtype
    return torch.empty(t.shape, dtype=dtype).requires_grad_(t.requires_grad)


def _eager(model: nn.Module) -> AbstractContextManager[Any]:
    """Nothing of the model compiled: a compiled kernel would look for the numbers of tensors that have none."""
    compiled = any(m._compiled_call_impl is not None for m in model.modules())
    stance: AbstractContextManager[Any] = torch.compiler.set_stance("force_eager") if compiled else nullcontext()
    return stance


@contextmanager
def _mode(model: nn.Module, training: bool) -> Iterator[None]:
    """The network in training or eval mode, each of its modules put back afterwards."""
    before = [(m, m.training) for m in model.modules()]
    model.train(training)
    try:
        yield
    finally:
        for module, was in before:
            module.training = was


@contextmanager
def _without_shortcuts() -> Iterator[None]:
    """Without the kernels that hide in one operation what they do: nn.MultiheadAttention in eval mode, nn.LSTM."""
    fused, onednn = torch.backends.mha.get_fastpath_enabled(), torch._C._get_mkldnn_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    torch._C._set_mkldnn_enabled(False)  # torch.backends.mkldnn.flags would set more, and warns of it
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)
        torch._C._set_mkldnn_enabled(onednn)
