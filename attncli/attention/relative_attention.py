"""Attention between positions of a map with a learned term for their relative place, as in BoTNet, HaloNet and AA.

The score of a query at (i, j) and a key at (a, c) is q . k + q . (R_h[a - i] + R_w[c - j]); the two tables have a row
for each offset and serve all heads.
"""

import torch
from torch import Tensor, nn

from attncli.attention.ops import promote_half


class RelativePositions(nn.Module):
    """Two tables of offsets between queries and keys, `sizes` (rows, columns) of keys: 2 size - 1 rows of `width`."""

    def __init__(self, sizes: tuple[int, int], width: int, std: float) -> None:
        super().__init__()
        self.sizes = sizes
        self.rows = nn.Parameter(torch.empty(2 * sizes[0] - 1, width))
        self.columns = nn.Parameter(torch.empty(2 * sizes[1] - 1, width))
        for table in (self.rows, self.columns):
            nn.init.trunc_normal_(table, std=std)

    def forward(self, scores: Tensor, q: Tensor) -> Tensor:
        """Return the scores of all keys, (..., Hq Wq, H W), plus q . (R_h + R_w) for queries (..., Hq, Wq, d).

        Queries count from the first key, so that query and key 0 have the offset 0.
        """
        height, width = self.sizes
        by_row = torch.einsum("...ijd,iad->...ija", q, self._look_up(self.rows, q.shape[-3], height))
        by_column = torch.einsum("...ijd,jcd->...ijc", q, self._look_up(self.columns, q.shape[-2], width))
        pairs = scores.unflatten(-1, self.sizes).unflatten(-3, q.shape[-3:-1]) + by_row[..., None]
        pairs += by_column[..., None, :]  # in place: the scores of large maps are what fills the memory
        return pairs.flatten(-2).flatten(-3, -2)

    @staticmethod
    def _look_up(table: Tensor, queries: int, keys: int) -> Tensor:
        """Return the row for each query and key: (queries, keys, d)."""
        places = torch.arange(max(queries, keys), device=table.device)
        return table[places[None, :keys] - places[:queries, None] + keys - 1]


def split_heads(t: Tensor, heads: int) -> Tensor:
    """Return (N, heads d, H, W) as (N, heads, H, W, d)."""
    return t.unflatten(1, (heads, -1)).movedim(2, -1)


def score_pairs(
    q: Tensor,
    k: Tensor,
    positions: RelativePositions | None,
    scale_positions: bool = True,
    masked: Tensor | None = None,
) -> Tensor:
    """Return the attention weights, (..., L, S): each row is a query, and sums to 1.

    Args:
        q: Queries, (..., Hq, Wq, d), L = Hq Wq. They are divided by sqrt(d).
        k: Keys, (..., S, d).
        positions: The tables of offsets, or None.
        scale_positions: Divide the term of the positions too.
        masked: Where a key gets no weight; broadcasts to (..., L, S).
    """
    with torch.autocast(q.device.type, enabled=False):  # heads are narrow, for which half precision is no faster
        q, k = promote_half(q), promote_half(k)
        scaled = q * q.shape[-1] ** -0.5
        scores = scaled.flatten(-3, -2) @ k.transpose(-2, -1)
        if positions is not None:
            scores = positions(scores, scaled if scale_positions else q)
        if masked is not None:
            scores = scores.masked_fill(masked, float("-inf"))
        return scores.softmax(-1)


def sum_values(weights: Tensor, v: Tensor) -> Tensor:
    """Return weights (..., L, S) times values (..., S, d): (..., L, d), in the values' dtype."""
    with torch.autocast(v.device.type, enabled=False):
        return (weights @ promote_half(v)).to(v.dtype)
