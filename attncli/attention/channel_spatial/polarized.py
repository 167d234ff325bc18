"""Polarized self-attention: a channel gate and a spatial gate, each from a query pooled to one vector.

    channel gate   a = softmax over positions of W_q x                    (N, 1, HW)
                   z = (W_v x) a                                          (N, C/2)
                   m_c = sigmoid(W_z z), or with form s sigmoid(W_4 relu(LN(W_3 z)))             (N, C)
    spatial gate   g = mean over positions of W_g x                       (N, C/2),  T = W_t x   (N, C/2, HW)
                   form p: m_p = sigmoid(softmax over positions of g T)   (N, 1, HW)
                   form s: m_p = sigmoid(g softmax over positions of T)
    parallel (p)   y = x m_c + x m_p
    sequential (s) x' = x m_c,  y = x' m_p(x')

1x1 convolutions without biases, but for W_3 and W_4 (C/8 units). Learns 2 C^2 + C numbers (p), 27 C^2/16 + 19 C/8 (s).
Cost: four convolutions of half the width; no map of all pairs. In form p the spatial gate lies between 0.5 and 0.731.

Where the sources differ: the official code softmaxes the product in form p and the map before it in form s, the paper
the pooled query over its channels (`query_softmax=True`, its wording). A well-known port has biases everywhere and a
LayerNorm over C. The official site is inside the block, after the first convolution of a basic block; before the last
1x1 of a bottleneck it is as narrow.
"""

from typing import Literal

import torch
from torch import Tensor, nn

from attncli.attention.card import Card
from attncli.attention.observation import Observation
from attncli.attention.ops import gate, spatial_mean
from attncli.attention.pairwise_attention import apply_pointwise

card = Card(
    title="Polarized Self-Attention: Towards High-quality Pixel-wise Regression",
    venue="Neurocomputing",
    year=2022,
    arxiv="2107.00782",
    site="mid",
    sites=("gate", "pre-norm", "block-input", "stage", "head"),
    code="DeLightCMU/PSA@20e307a semantic-segmentation/network/PSA.py",
    floor="C/8 is max(C // 8, min_hidden), min_hidden 4; on a 1 x 1 map the softmaxes are constant",
    notes=(
        "No figures for classification were published.",
        "At the site gate of a bottleneck network it has four times the channels: 65.8 M parameters on ResNet-50.",
    ),
    aliases=("PSA_p", "PSA_s form=s", "polarized-self-attention", "ParallelPolarizedSelfAttention"),
)


class Attention(nn.Module):
    """(N, C, H, W) -> (N, C, H, W). `form` is p (parallel) or s (sequential).

    Raises ValueError for another form or a hidden width below 1.
    """

    def __init__(
        self, channels: int, *, form: Literal["p", "s"] = "p", query_softmax: bool = False, min_hidden: int = 4
    ) -> None:
        super().__init__()
        if form not in ("p", "s") or min_hidden < 1:
            raise ValueError(f"{form=}, {min_hidden=}: p or s, and at least 1")
        self.form, self.query_softmax = form, query_softmax
        half = max(channels // 2, 1)
        self.channel_query, self.channel_value = _make_linear(channels, 1), _make_linear(channels, half)
        self.channel_out: nn.Module = nn.Linear(half, channels, bias=False)
        if form == "s":
            hidden = max(half // 4, min_hidden)
            self.channel_out = nn.Sequential(
                nn.Linear(half, hidden), nn.LayerNorm(hidden), nn.ReLU(), nn.Linear(hidden, channels)
            )
        self.spatial_query, self.spatial_value = _make_linear(channels, half), _make_linear(channels, half)

    def forward(self, x: Tensor) -> Tensor:
        """Weigh x by channels and by positions."""
        by_channel = gate(x, self.compute_channel_gate(x))
        if self.form == "s":
            return gate(by_channel, self.compute_spatial_gate(by_channel))
        return by_channel + gate(x, self.compute_spatial_gate(x))

    def compute_channel_gate(self, x: Tensor) -> Tensor:
        """Return m_c, (N, C)."""
        a = apply_pointwise(x, self.channel_query).flatten(2).softmax(2)  # (N, 1, HW)
        v = apply_pointwise(x, self.channel_value).flatten(2)
        return torch.sigmoid(self.channel_out((v @ a.to(v.dtype).transpose(1, 2)).squeeze(2)))

    def compute_spatial_gate(self, x: Tensor) -> Tensor:
        """Return m_p, (N, 1, H, W)."""
        g = spatial_mean(apply_pointwise(x, self.spatial_query))[:, None]  # (N, 1, C/2)
        g = g.softmax(2) if self.query_softmax else g
        t = apply_pointwise(x, self.spatial_value).flatten(2)
        t = t.softmax(2) if self.form == "s" else t
        logits = g.to(t.dtype) @ t
        logits = logits.softmax(2) if self.form == "p" else logits
        return torch.sigmoid(logits).unflatten(2, x.shape[2:])

    def observe(self, inputs: tuple[Tensor, ...], output: Tensor) -> list[Observation]:
        """Return both gates."""
        (x,) = inputs
        channel = self.compute_channel_gate(x)
        spatial = self.compute_spatial_gate(gate(x, channel) if self.form == "s" else x)
        return [
            Observation("gate", "weight of each channel", channel[:, :, None, None]),
            Observation("gate", "weight of each position", spatial),
        ]


def _make_linear(c_in: int, c: int) -> nn.Linear:
    layer = nn.Linear(c_in, c, bias=False)
    nn.init.kaiming_normal_(layer.weight)
    return layer
