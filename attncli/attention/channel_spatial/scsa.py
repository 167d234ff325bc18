"""SCSA: strips weigh rows and columns with four kernel sizes, then channels attend to channels.

    p = mean of x over W, q = mean of x over H           (N, C, H), (N, C, W), in four quarters of the channels
    each quarter passes its depth-wise conv1d (kernels 3, 5, 7, 9), the same for p and q
    x' = x * sigmoid(GN_h(p)) * sigmoid(GN_w(q))         (N, C, H, W), GN with the quarters as groups, one per axis
    u = GN1(mean of x' over windows of 7 x 7)            (N, C, P)
    Q, K, V = w_q u, w_k u, w_v u                        (N, C, P), a number per channel
    A = softmax over channels of Q K^T / sqrt(d)         (N, d, d) in each head of d = C / heads channels
    y = x' * sigmoid(mean over P of A V)                 (N, C, H, W)

Learns 16 C numbers (kernels 6 C, their biases C, norms 6 C, w 3 C; 3 C more with `qkv_bias`). Cost: strips, two
products over x, a mean, C^2 P / heads multiply-adds. Rows and columns beyond a multiple of the window do not count in
the channel part. It starts near x / 8.

Where the sources differ: little; the official code fails on maps below 7 x 7, here the window is then the map.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from attncli.attention.axis_reductions import axis_mean, memory_order, usual_order
from attncli.attention.card import Card
from attncli.attention.channel_groups import normalize_groups
from attncli.attention.observation import Observation
from attncli.attention.ops import gate

card = Card(
    title="SCSA: Exploring the Synergistic Effects Between Spatial and Channel Attention",
    venue="Neurocomputing",
    year=2025,
    arxiv="2407.05128",
    site="mid",
    sites=("gate", "pre-norm", "block-input", "stage", "head"),
    code="HZAI-ZJNU/SCSA@8c46866 mmpretrain/models/attentions/SCSA.py",
    floor="C must divide by the kernels (4) and the heads; the window is at most the map",
    notes=(
        "On maps of one window the channel attention is an outer product of two vectors.",
        "One head means a C x C matrix per sample.",
    ),
    aliases=("spatial-channel-synergistic-attention",),
)


class Attention(nn.Module):
    """(N, C, H, W) -> (N, C, H, W). `window` is the side of the pooled windows, 0 the whole map.

    Raises ValueError for even kernels, or if kernels or heads do not divide the channels.
    """

    def __init__(
        self,
        channels: int,
        *,
        heads: int = 1,
        window: int = 7,
        kernels: tuple[int, ...] = (3, 5, 7, 9),
        qkv_bias: bool = False,
    ) -> None:
        super().__init__()
        if not kernels or any(k < 1 or k % 2 == 0 for k in kernels) or window < 0:
            raise ValueError(f"kernels={list(kernels)}, {window=}: odd kernels, and a window of 0 or more")
        parts = len(kernels)
        if heads < 1 or channels % parts or channels % heads:
            raise ValueError(f"{parts} kernels and {heads} heads must divide {channels} channels")
        self.heads, self.window = heads, window
        quarter = channels // parts
        self.strips = nn.ModuleList(nn.Conv1d(quarter, quarter, k, padding=k // 2, groups=quarter) for k in kernels)
        self.norm_rows, self.norm_columns = nn.GroupNorm(parts, channels), nn.GroupNorm(parts, channels)
        self.norm = nn.GroupNorm(1, channels)
        self.qkv = nn.Parameter(torch.empty(3, channels, 1).uniform_(-1, 1))
        self.qkv_bias = nn.Parameter(torch.empty(3, channels, 1).uniform_(-1, 1)) if qkv_bias else None

    def forward(self, x: Tensor) -> Tensor:
        """Weigh rows and columns, then channels."""
        rows, columns = self.compute_strip_gates(x)
        y = memory_order(x, x)
        for s in (rows[..., None], columns[:, :, None]):
            y = y * memory_order(s.to(x.dtype), x)
        y = usual_order(y, x)
        return gate(y, self.compute_channel_gate(y))

    def compute_strip_gates(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the gates of the rows, (N, C, H), and of the columns, (N, C, W)."""

        def weigh(strip: Tensor, norm: nn.Module) -> Tensor:
            parts = [conv(t) for conv, t in zip(self.strips, strip.chunk(len(self.strips), 1), strict=True)]
            return torch.sigmoid(normalize_groups(torch.cat(parts, 1), norm))

        return weigh(axis_mean(x, 3).flatten(2), self.norm_rows), weigh(axis_mean(x, 2).flatten(2), self.norm_columns)

    def compute_channel_gate(self, x: Tensor) -> Tensor:
        """Return the gate of the channels, (N, C)."""
        q, k, v = self.project_windows(x)
        attended = self.attend_channels(q, k) @ v.mean(3, keepdim=True)  # (N, heads, d, 1)
        return torch.sigmoid(attended.flatten(1))

    def project_windows(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return Q, K and V, each (N, heads, d, P)."""
        sides = [min(self.window, side) if self.window else side for side in x.shape[2:]]
        u = normalize_groups(F.avg_pool2d(x, sides), self.norm).flatten(2)[:, None]  # (N, 1, C, P)
        projected = u * self.qkv if self.qkv_bias is None else torch.addcmul(self.qkv_bias, u, self.qkv)
        q, k, v = projected.unflatten(2, (self.heads, -1)).unbind(1)
        return q, k, v

    @staticmethod
    def attend_channels(q: Tensor, k: Tensor) -> Tensor:
        """Return A, (N, heads, d, d): each row is a query, and sums to 1."""
        return (q @ k.transpose(2, 3) * q.shape[2] ** -0.5).softmax(3)

    def observe(self, inputs: tuple[Tensor, ...], output: Tensor) -> list[Observation]:
        """Return the gates of rows and columns and that of the channels."""
        (x,) = inputs
        rows, columns = self.compute_strip_gates(x)
        rows, columns = rows[..., None], columns[:, :, None]
        channel = self.compute_channel_gate(x * rows * columns)[:, :, None, None]
        return [
            Observation("gate", "weight of the rows", rows),
            Observation("gate", "weight of the columns", columns),
            Observation("gate", "weight of each channel", channel),
        ]
