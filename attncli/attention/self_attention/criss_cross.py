"""Criss-cross attention: each position attends to its own row and column, twice.

    q, k = W_q x + b_q, W_k x + b_k                      (N, C/8, H, W), 1x1 convolutions
    v = W_v x + b_v                                      (N, C, H, W)
    scores of (i, j): q_ij . k_p for the H + W - 1 positions p of its row and column, itself once
    y = x + gamma sum_p softmax(scores)_p v_p            (N, C, H, W)

The same block runs `recurrence` times: twice reaches every position. gamma starts at 0, so it starts as the identity.
Learns 1.25 C^2 + 1.25 C + 1 numbers; b_k is dead. Cost of a pass: 1.25 C^2 HW and 1.1 C HW (H + W) multiply-adds,
against C (HW)^2 of a non-local block.

Where the sources differ: little. Scores are not divided by a width. The position itself stands in both its row and its
column; the official code masks it in the column, without which it would count twice. In CCNet convolutions around the
block narrow 2048 channels to 512 and join both maps, for segmentation; here it stands alone on the last map.
"""

import torch
from torch import Tensor, nn

from attncli.attention.card import Card
from attncli.attention.observation import Observation
from attncli.attention.pairwise_attention import apply_pointwise

card = Card(
    title="CCNet: Criss-Cross Attention for Semantic Segmentation",
    venue="ICCV",
    year=2019,
    arxiv="1811.11721",
    site="head",
    sites=("stage", "block-input"),
    code="speedinghzl/CCNet@1fae6c6 cc_attention/functions.py",
    identity=True,
    dead=("key.bias",),
    dead_because="it adds one number to all values of a softmax, which ignores it",
    floor="width of queries and keys max(C // reduction, 1); on a 1 x 1 map its attention is constant",
    notes=(
        "gamma is 0 at first, so queries, keys and values learn from the second step on.",
        "A method for segmentation: no figures for classification were published.",
    ),
    aliases=("cc", "CrissCrossAttention", "ccnet", "cc-attention"),
)


class Attention(nn.Module):
    """(N, C, H, W) -> (N, C, H, W). Raises ValueError if the reduction or the recurrence is below 1."""

    def __init__(self, channels: int, *, reduction: int = 8, recurrence: int = 2) -> None:
        super().__init__()
        if min(reduction, recurrence) < 1:
            raise ValueError(f"{reduction=}, {recurrence=}: both must be at least 1")
        narrow = max(channels // reduction, 1)
        self.query, self.key = nn.Linear(channels, narrow), nn.Linear(channels, narrow)
        self.value = nn.Linear(channels, channels)
        self.gamma = nn.Parameter(torch.zeros(1))
        self.recurrence = recurrence

    def forward(self, x: Tensor) -> Tensor:
        """Add to each position what it finds in its row and column, again and again."""
        for _ in range(self.recurrence):
            by_column, by_row = self.weigh_cross(x)
            v = apply_pointwise(x, self.value)
            context = torch.einsum("nija,ncaj->ncij", by_column.to(v.dtype), v)
            context = context + torch.einsum("nijb,ncib->ncij", by_row.to(v.dtype), v)
            x = torch.addcmul(x, context.to(x.dtype), self.gamma.to(x.dtype))
        return x

    def weigh_cross(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the weights of the column, (N, H, W, H), and of the row, (N, H, W, W); together they sum to 1."""
        h, w = x.shape[2:]
        q, k = apply_pointwise(x, self.query), apply_pointwise(x, self.key)
        column = torch.einsum("ncij,ncaj->nija", q, k)
        itself = torch.eye(h, dtype=torch.bool, device=x.device)[:, None]  # (H, 1, H)
        scores = torch.cat((column.masked_fill(itself, float("-inf")), torch.einsum("ncij,ncib->nijb", q, k)), 3)
        by_column, by_row = scores.softmax(3).split((h, w), 3)
        return by_column, by_row

    def observe(self, inputs: tuple[Tensor, ...], output: Tensor) -> list[Observation]:
        """Return the affinity of the first pass, with zeros off the cross."""
        h, w = inputs[0].shape[2:]
        by_column, by_row = self.weigh_cross(inputs[0])
        pairs = by_row.new_zeros(by_row.shape[0], h, w, h, w)
        rows, columns = (torch.arange(side, device=pairs.device) for side in (h, w))
        pairs[:, :, columns, :, columns] += by_column.permute(2, 0, 1, 3)
        pairs[:, rows, :, rows] += by_row.permute(1, 0, 2, 3)
        return [
            Observation(
                "affinity", "row and column attended to", pairs.flatten(3).flatten(1, 2), queries=(h, w), keys=(h, w)
            )
        ]
