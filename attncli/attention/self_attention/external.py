"""External attention: positions attend to a small memory that all samples share, not to each other.

    t = W_1 x + b_1                                      (N, HW, C), 1x1 convolution
    L = t M_k^T                                          (N, HW, S), memory of S = 64 keys
    P_is = exp(L_is) / sum_n exp(L_ns)                   softmax over the positions n
    A_is = P_is / (1e-9 + sum_t P_it)                    (N, HW, S): rows sum to 1 over the memory
    y = relu(x + BN(W_2 (A M_v)))                        (N, C, H, W)

M_k and M_v (S x C) are learned. Learns 2 C^2 + 3 C + 2 S C numbers. Cost: 2 HW C^2 for the convolutions and
2 HW S C for the attention, linear in the number of positions. It ends with its own ReLU: it belongs after a
block's. `wrapper="none"` is the bare attention, A M_v with t = x.

Where the sources differ: the authors' constructor lets both memories share storage, a tie that a move to the GPU
undoes; here they are two parameters that start equal, with the deviation sqrt(2 / C) that the code ends up with.
b_1 shifts a column of L by a constant, which the softmax takes away: it never learns. In half precision
both normalisations run in float32, in which 1e-9 is not lost.
"""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from attncli.attention.card import Card
from attncli.attention.observation import Observation

card = Card(
    title="Beyond Self-attention: External Attention using Two Linear Layers for Visual Tasks",
    venue="arXiv",
    year=2021,
    arxiv="2105.02358",
    site="stage",
    code="MenghaoGuo/EANet@59c03cb model_torch.py",
    sites=("head",),
    stages=(3,),
    blocks=(-1,),
    cifar_stages=(2,),
    cifar_blocks=(-1,),
    dead=("inner.bias",),
    dead_because="it adds one number to all values of a softmax, which ignores it",
    floor="on a 1 x 1 map its attention is constant",
    aliases=("ea-net", "external-attention"),
    notes=("Published for segmentation, after the last stage; here after stage 3, like self-attention.",),
)


class Attention(nn.Module):
    """(N, C, H, W) -> (N, C, H, W). `memory` is S. Raises ValueError for a memory or eps that is not positive."""

    def __init__(
        self,
        channels: int,
        *,
        memory: int = 64,
        wrapper: Literal["block", "none"] = "block",
        eps: float = 1e-9,
    ) -> None:
        super().__init__()
        if memory < 1 or eps <= 0:
            raise ValueError(f"memory={memory}, eps={eps}: both must be positive")
        if wrapper not in ("block", "none"):
            raise ValueError(f"wrapper={wrapper!r}: block or none")
        self.eps = eps
        block = wrapper == "block"
        self.inner = nn.Linear(channels, channels) if block else None
        self.keys = nn.Parameter(torch.randn(memory, channels) * (2 / channels) ** 0.5)
        self.values = nn.Parameter(self.keys.detach().clone())
        self.outer = nn.Linear(channels, channels, bias=False) if block else None
        self.norm = nn.BatchNorm2d(channels) if block else None
        for layer in (self.inner, self.outer):
            if layer is not None:
                nn.init.normal_(layer.weight, std=(2 / channels) ** 0.5)

    def forward(self, x: Tensor) -> Tensor:
        """Add to each position what it finds in the memory."""
        y = self.memory_affinity(x).to(x.dtype) @ self.values.to(x.dtype)  # (N, HW, C)
        if self.outer is not None:
            y = self.outer(y)
        y = y.transpose(1, 2).unflatten(2, x.shape[2:])  # (N, C, H, W)
        return y if self.norm is None else F.relu(x + self.norm(y))

    def observe(self, inputs: tuple[Tensor, ...], output: Tensor) -> list[Observation]:
        """Return what each position takes from the memory."""
        size = (inputs[0].shape[2], inputs[0].shape[3])
        return [Observation("affinity", "memory units taken", self.memory_affinity(inputs[0]), queries=size)]

    def memory_affinity(self, x: Tensor) -> Tensor:
        """Return a, (N, HW, S): how much of each memory unit each position takes; rows sum to 1."""
        t = x.flatten(2).transpose(1, 2)  # (N, HW, C)
        logits = F.linear(t if self.inner is None else self.inner(t), self.keys)
        full = torch.promote_types(logits.dtype, torch.float32)
        p = logits.softmax(1, dtype=full)
        return p / (self.eps + p.sum(2, keepdim=True))
