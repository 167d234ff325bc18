"""Intercept calls of attention as one operation each, whatever kernels torch chooses."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

aten = torch.ops.aten
ATTENTION_FUNCTIONS = (
    F.scaled_dot_product_attention,
    aten.scaled_dot_product_attention,
    aten.scaled_dot_product_attention.default,
)
AttentionHandler = Callable[[Callable[[], Tensor], list[Tensor]], Tensor]  # (run_attention, its tensors) -> its result


class AttentionCallMode(TorchFunctionMode):
    """Pass every scaled_dot_product_attention to `handle`.

    torch runs one fused kernel or many operations, which depends on shapes, options and its version. Since 2.14, for
    example, it also has a fused kernel for inputs without heads, and for fewer heads of keys than of queries.
    """

    def __init__(self, handle: AttentionHandler) -> None:
        super().__init__()
        self.handle = handle

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run the function; attention is passed to `handle`."""
        run_function = partial(func, *args, **(kwargs or {}))
        if func not in ATTENTION_FUNCTIONS:
            return run_function()
        return self.handle(run_function, [t for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor)])
