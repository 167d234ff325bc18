"""The rule book: what the kernels of GPUs ask of their arguments and the CPU's kernels do not.

A rule has the name of the operation, the test of its arguments, and the place in torch where the kernel asks for it.
A fault that only a GPU showed becomes a rule here.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from torch import Tensor


@dataclass(frozen=True)
class Rule:
    """`is_broken(arguments by name)` tells whether a call of `operation` would fail, or go wrong, on a GPU."""

    operation: str
    problem: str
    source: str
    is_broken: Callable[[dict[str, Any]], bool]


def _lacks_saved_statistics(call: dict[str, Any]) -> bool:
    return call["save_mean"] is None or call["save_invstd"] is None


def _reads_half_statistics(call: dict[str, Any]) -> bool:
    return any(call[name].dtype != call["mean"].dtype for name in ("invstd", "sum_dy", "sum_dy_xmu"))


def _has_counts_of_another_type(call: dict[str, Any]) -> bool:
    typed = call["input"] if call["running_mean"] is None else call["running_mean"]
    return call["counts"].dtype != typed.dtype


def _may_keep_what_was_in_memory(call: dict[str, Any]) -> bool:
    return call["is_first_step"] and call.get("found_inf") is not None  # a default is not among the arguments


RULES = (
    Rule(
        "aten::native_batch_norm_backward",
        "save_mean must be given, in evaluation form too",
        "ATen/native/cuda/Normalization.cu: batch_norm_backward_cuda",
        _lacks_saved_statistics,
    ),
    Rule(
        "aten::batch_norm_backward_elemt",
        "mean, invstd and the sums must have one type",
        "ATen/native/cuda/Normalization.cuh: batch_norm_backward_elemt_cuda_template",
        _reads_half_statistics,
    ),
    Rule(
        "aten::batch_norm_backward_elemt",
        "the counts must be int32",
        "ATen/native/cuda/Normalization.cuh: batch_norm_backward_elemt_cuda_template (count.const_data_ptr<int>)",
        lambda call: str(call["count"].dtype) != "torch.int32",
    ),
    Rule(
        "aten::batch_norm_gather_stats_with_counts",
        "the counts must have the type of the running statistics, or without them that of the first argument",
        "ATen/native/cuda/Normalization.cu: batch_norm_gather_stats_with_counts_cuda (counts packed as scalar_t)",
        _has_counts_of_another_type,
    ),
    Rule(
        "aten::_fused_sgd_",
        "the momentum of a first step that may be skipped must be there before: it is not written then",
        "ATen/native/cuda/FusedSgdKernel.cu: FusedSgdMathFunctor (returns if found_inf is 1)",
        _may_keep_what_was_in_memory,
    ),
    Rule(
        "aten::index_add_",
        "numbers of int64 cannot be added at indices on Apple's GPUs before torch 2.9",
        "ATen/native/mps/operations/Indexing.mm: index_add_mps_out",
        lambda call: str(call["source"].dtype) == "torch.int64",
    ),
)


def find_breaches(func: Any, args: Any, kwargs: Any) -> Iterator[str]:
    """Yield the problem of every rule that this call breaks."""
    rules = [rule for rule in RULES if rule.operation == func._schema.name]
    if not rules:
        return
    call = {argument.name: value for argument, value in zip(func._schema.arguments, args, strict=False)} | kwargs
    for rule in rules:
        if rule.is_broken(call):
            yield f"{rule.operation}: {rule.problem}"


def check_fused_layouts(lists: Any) -> None:
    """Raise RuntimeError unless parameters, gradients and states of a fused optimiser lie in memory alike.

    Otherwise torch leaves its fast path and runs one kernel for each tensor.
    """
    tensor_lists = [tensors for tensors in lists if isinstance(tensors, list) and tensors]
    for tensors in zip(*(t for t in tensor_lists if len(t) == len(lists[0])), strict=True):
        layouts = {t.stride() for t in tensors if isinstance(t, Tensor) and t.ndim}
        if len(layouts) > 1:
            raise RuntimeError(f"a fused optimiser gets tensors of layouts {layouts}")
