"""A device without hardware: its tensors have shapes, types and strides, but no numbers; every operation is recorded.

Tensors on the CPU are computed as usual, so everything that is drawn there is real. Tensors on the device are
FakeTensors. What a GPU would make slow, wrong or impossible is written into a `Ledger`: launches of kernels, waits of
the host, copies and how they are made, float64, and breaches of the rules in `contracts`.

What cannot be seen here: values, limits of single kernels, time and memory.
"""

import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any
from unittest import mock

import pytest
import torch
from accelerate import Accelerator
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

from tests.device import contracts
from tests.device.simulated_process import SimulatedProcess

# Operations that start no kernel: new memory, and other views of the same memory whose schema does not say so.
WITHOUT_KERNEL = {
    "empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided", "lift_fresh", "_unsafe_view", "detach",
    "alias", "view",
}  # fmt: skip
DATA_DEPENDENT = {"nonzero", "masked_select", "_unique2", "unique_dim", "unique_consecutive"}
GIGABYTE = 1 << 30


def _make_channel_numbers(x: Tensor, count: int) -> tuple[Tensor, ...]:
    return tuple(x.new_empty(x.shape[1], dtype=torch.float32) for _ in range(count))


# Kernels that have no rule for FakeTensors, by what they return for their arguments.
SYNC_BATCH_NORM: dict[str, Callable[[Any], Any]] = {
    "batch_norm_update_stats": lambda args: _make_channel_numbers(args[0], 2),
    "batch_norm_stats": lambda args: _make_channel_numbers(args[0], 2),
    "batch_norm_gather_stats_with_counts": lambda args: (torch.empty_like(args[1][0]), torch.empty_like(args[1][0])),
    "batch_norm_elemt": lambda args: torch.empty_like(args[0]),
    "batch_norm_backward_reduce": lambda args: _make_channel_numbers(args[1], 4),
    "batch_norm_backward_elemt": lambda args: torch.empty_like(args[1]),
}


@dataclass
class Ledger:
    """What was seen, as counts; every entry but a launch names the innermost line of attncli."""

    launches: Counter[str] = field(default_factory=Counter)
    waits: Counter[str] = field(default_factory=Counter)  # of the host for the device
    copies: Counter[str] = field(default_factory=Counter)  # from the host to the device
    doubles: Counter[str] = field(default_factory=Counter)
    mixed: Counter[str] = field(default_factory=Counter)  # tensors of both sides in one operation
    breaches: Counter[str] = field(default_factory=Counter)  # of the rule book

    def clear(self) -> None:
        """Forget everything."""
        for counter in vars(self).values():
            counter.clear()

    def to_dict(self) -> dict[str, dict[str, int]]:
        """Return the counts as plain mappings."""
        return {name: dict(counter) for name, counter in vars(self).items()}


def name_line() -> str:
    """Return file and line of the innermost frame in attncli."""
    frame = sys._getframe(1)
    while frame is not None:
        _, package, file = frame.f_code.co_filename.rpartition("/attncli/")
        if package:
            return f"{file}:{frame.f_lineno}"
        frame = frame.f_back
    return "autograd or a library"


class SimulatedDevice(TorchDispatchMode):
    """The mode in which tensors of the device type `kind` are fakes."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind, self.ledger = kind, Ledger()
        self.fakes = FakeTensorMode(allow_non_fake_inputs=False)
        self.pinned: set[int] = set()  # storages in pinned memory

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run one operation where its tensors are, and record it if that is the device."""
        kwargs, name = kwargs or {}, func._schema.name.partition("::")[2].rstrip("_") or func._schema.name
        if func.namespace == "prim":
            return func(*args, **kwargs)
        if torch.is_inference_mode_enabled() and name not in ("is_pinned", "pin_memory"):
            with self:  # there, operations made of others arrive whole
                parts = func.decompose(*args, **kwargs)
            if parts is not NotImplemented:
                return parts
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        if name in ("pin_memory", "_pin_memory"):
            return self._pin(args[0])
        if name == "is_pinned":
            return args[0].untyped_storage().data_ptr() in self.pinned
        if any(isinstance(tensor, FakeTensor) for tensor in tensors):
            return self._run_on_device(func, name, tensors, args, kwargs)
        target = kwargs.get("device")
        if kwargs.get("pin_memory"):
            return self._pin(func(*args, **{**kwargs, "pin_memory": False}))
        if target is None or torch.device(target).type != self.kind:
            return func(*args, **kwargs)
        return self._move_to_device(func, name, tensors, args, kwargs)

    def _pin(self, x: Tensor) -> Tensor:
        """Return a copy that counts as pinned memory."""
        copy = x.clone()
        self.pinned.add(copy.untyped_storage().data_ptr())
        return copy

    def _move_to_device(self, func: Any, name: str, tensors: list[Tensor], args: Any, kwargs: Any) -> Tensor:
        """Return a new tensor on the device: made there, or copied from the host."""
        with self.fakes:
            if not tensors:
                return self._record(func, name, func(*args, **kwargs))
        source = tensors[0]
        layout = torch.empty_like(source, device="meta").stride()
        if name == "_to_copy":
            self._record_copy(source, bool(kwargs.get("non_blocking")))
        dtype = kwargs.get("dtype") or source.dtype
        with self.fakes:
            result = torch.empty_strided(source.shape, layout, dtype=dtype, device=kwargs["device"])
        return self._record(func, name, result)

    def _run_on_device(self, func: Any, name: str, tensors: list[Tensor], args: Any, kwargs: Any) -> Any:
        """Return the result of an operation that has tensors of the device among its arguments."""
        ledger = self.ledger
        if name == "_local_scalar_dense":
            ledger.waits[f"read of a number at {name_line()}"] += 1
            return 0.5 if args[0].dtype.is_floating_point else 1
        target = kwargs.get("device")
        if name in ("_to_copy", "to") and target is not None and torch.device(target).type == "cpu":
            ledger.waits[f"copy to the host at {name_line()}"] += 1
            return torch.ones(args[0].shape, dtype=kwargs.get("dtype") or args[0].dtype)
        if name == "copy" and isinstance(args[0], FakeTensor) and not isinstance(args[1], FakeTensor):
            self._record_copy(args[1], bool(args[2] if len(args) > 2 else kwargs.get("non_blocking")))
            ledger.launches[name] += 1
            return args[0]
        if name == "copy" and not isinstance(args[0], FakeTensor):
            ledger.waits[f"copy to the host at {name_line()}"] += 1
            return args[0].fill_(1)
        if name in DATA_DEPENDENT or _is_mask_index(name, args):
            ledger.waits[f"{name} at {name_line()}"] += 1
        for tensor in tensors:
            if tensor.ndim and not isinstance(tensor, FakeTensor):
                ledger.mixed[f"{name} at {name_line()}"] += 1
                raise RuntimeError(f"{name}: tensors on two devices at {name_line()}")
        for breach in contracts.find_breaches(func, args, kwargs):
            ledger.breaches[f"{breach} at {name_line()}"] += 1
        if name.startswith("_fused_"):  # optimisers; they have no fake kernels
            contracts.check_fused_layouts(args)
            ledger.launches[name] += 1
            return None
        with self.fakes:
            if name in SYNC_BATCH_NORM:
                return self._record(func, name, SYNC_BATCH_NORM[name](args))
            args, kwargs = tree_map_only(Tensor, _fake_number, (args, kwargs))
            return self._record(func, name, func(*args, **kwargs))

    def _record_copy(self, source: Tensor, non_blocking: bool) -> None:
        memory = "pinned" if source.untyped_storage().data_ptr() in self.pinned else "pageable"
        self.ledger.copies[f"{memory} {'asynchronous' if non_blocking else 'blocking'} at {name_line()}"] += 1

    def _record(self, func: Any, name: str, result: Any) -> Any:
        """Count a launch, unless the result is a view or fresh memory."""
        is_view = any(r.alias_info is not None and not r.alias_info.is_write for r in func._schema.returns)
        if not is_view and name not in WITHOUT_KERNEL:
            self.ledger.launches[name] += 1
            if any(leaf.dtype == torch.float64 for leaf in tree_leaves(result) if isinstance(leaf, Tensor)):
                self.ledger.doubles[f"{name} at {name_line()}"] += 1
        return result


def _is_mask_index(name: str, args: Any) -> bool:
    """Return whether an indexing operation has a mask, whose result has as many rows as the mask has ones."""
    if name not in ("index", "index_put", "_index_put_impl"):
        return False
    return any(isinstance(index, Tensor) and index.dtype in (torch.bool, torch.uint8) for index in args[1])


def _fake_number(t: Tensor) -> Tensor:
    """Return a number of the CPU as one that the fake mode takes beside tensors of the device."""
    return t if isinstance(t, FakeTensor) else torch.empty((), dtype=t.dtype)


def require_device_guard() -> None:
    """Skip the test if torch lacks what a CUDA device without a driver needs (torch 2.6 does)."""
    if not hasattr(torch._C, "_ensureCUDADeviceGuardSet"):
        pytest.skip("this release of torch cannot simulate a CUDA device")


@contextmanager
def simulated_device(kind: str = "cuda") -> Iterator[tuple[SimulatedDevice, Accelerator]]:
    """Yield the mode, already active, and what stands for the Accelerator on it."""
    if kind == "cuda":
        require_device_guard()
    generator = mock.Mock(spec=["manual_seed", "get_state", "set_state"])
    generator.get_state.return_value = torch.zeros(16, dtype=torch.uint8)
    with ExitStack() as stack:
        for target, name, value in (
            (torch.cuda, "_lazy_init", lambda: None),
            (torch.cuda, "is_bf16_supported", lambda including_emulation=True: True),
            (torch.cuda, "manual_seed_all", lambda seed: None),
            (torch.cuda, "default_generators", (generator,)),
            (torch.cuda, "mem_get_info", lambda device=None: (80 * GIGABYTE, 80 * GIGABYTE)),
            (torch.cuda, "memory_reserved", lambda device=None: 0),
            (torch.cuda, "memory_allocated", lambda device=None: 0),
            (torch.cuda, "reset_peak_memory_stats", lambda device=None: None),
            (torch.cuda, "max_memory_allocated", lambda device=None: GIGABYTE),
            (torch.cuda, "current_device", lambda: 0),
            (torch.cuda.amp.common, "amp_definitely_not_available", lambda: False),
            (torch.mps, "manual_seed", lambda seed: None),
        ):
            stack.enter_context(mock.patch.object(target, name, value))
        stack.enter_context(mock.patch("torch.nn.Module._apply", _replace_tensors))
        if hasattr(torch._C, "_set_only_lift_cpu_tensors"):
            before = torch._C._only_lift_cpu_tensors()
            torch._C._set_only_lift_cpu_tensors(True)
            stack.callback(torch._C._set_only_lift_cpu_tensors, before)
        if kind == "cuda":
            torch._C._ensureCUDADeviceGuardSet()
        yield stack.enter_context(SimulatedDevice(kind)), SimulatedProcess(kind)


def _replace_tensors(module: torch.nn.Module, fn: Any, recurse: bool = True) -> torch.nn.Module:
    """Do what `Module._apply` does; torch's own swaps tensors, which FakeTensors do not take."""
    for child in module.children():
        _replace_tensors(child, fn)
    with torch.no_grad():
        for name, parameter in module._parameters.items():
            if parameter is not None:
                module._parameters[name] = torch.nn.Parameter(fn(parameter).detach(), parameter.requires_grad)
        for name, buffer in module._buffers.items():
            if buffer is not None:
                module._buffers[name] = fn(buffer)
    return module
