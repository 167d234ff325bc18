"""Attention seen as one operation, whatever torch makes of it."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

aten = torch.ops.aten
CALLS = (
    F.scaled_dot_product_attention,
    aten.scaled_dot_product_attention,
    aten.scaled_dot_product_attention.default,
)
Attend = Callable[[Callable[[], Tensor], list[Tensor]], Tensor]  # (run, the tensors given) -> what run() returns


class WholeAttention(TorchFunctionMode):
    """Has `attend` run each scaled_dot_product_attention: a fused kernel or many operations, as shapes and version say.

    torch takes a fused one, for example, for batches without heads since 2.14, and for fewer heads of keys than of
    queries.
    """

    def __init__(self, attend: Attend) -> None:
        super().__init__()
        self.attend = attend

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run the function, attention by way of `attend`."""
        run = partial(func, *args, **(kwargs or {}))
        if func not in CALLS:
            return run()
        return self.attend(run, [t for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor)])
