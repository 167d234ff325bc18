"""DANet: positions attend to positions, channels to channels, and the two results are summed.

    q, k, v = W_q x + b_q, W_k x + b_k, W_v x + b_v       (N, HW, C/8) twice and (N, HW, C)
    p = x + gamma_p softmax_j(q_i . k_j) v                position branch, no division by sqrt(C/8)
    E = x x^T over the positions                          (N, C, C)
    q = x + gamma_c softmax_j(max_j E - E) x              channel branch
    y = p + q                                             (N, C, H, W)

Both gammas start at 0, so each branch starts as the identity and the sum as 2x (`fuse="mean"`: as x). Learns
2 (C/8) (C + 1) + C (C + 1) + 2 numbers. Cost: 2 (HW)^2 (C + C/8) / 2 and 2 C^2 HW multiply-adds: for small maps.

Where the sources differ: the paper writes neither gamma_c's flipped softmax nor plain convolutions. All code flips
the sign of E, so that the least similar channels weigh most (`channel_softmax="plain"` does not); the authors found
it to converge better. Norm and ReLU on q and k, in the paper's text, are an error by the authors' own word. The
segmentation head has convolutions around each branch; as a block for classification they are left out.
"""

from typing import Literal

import torch
from torch import Tensor, nn

from attncli.attention.card import Card
from attncli.attention.observation import Observation
from attncli.attention.ops import promote_half
from attncli.attention.pairwise_attention import apply_pointwise, attend_pairwise, flatten_tokens

card = Card(
    title="Dual Attention Network for Scene Segmentation",
    venue="CVPR",
    year=2019,
    arxiv="1809.02983",
    site="head",
    sites=("stage", "block-input"),
    code="junfu1115/DANet@b0a0fa0 encoding/nn/da_att.py",
    dead=("key.bias",),
    dead_because="it adds one number to all values of a softmax, which ignores it",
    floor="width of queries and keys max(C // query_reduction, 1); on a 1 x 1 map attention by position is constant",
    aliases=("da-net", "dual-attention", "DANetHead"),
    notes=(
        "A method for segmentation: no published figures for classification.",
        "With both branches and fuse=sum the block doubles its input at first; else it starts as the identity.",
        "Nothing bounds its gammas: at a learning rate of 0.05 resnet20 on the digits diverged at one seed of three.",
        "The energies of the channel branch grow with H*W, so that its softmax picks single channels on large maps.",
    ),
)


class Attention(nn.Module):
    """(N, C, H, W) -> (N, C, H, W). `branches` keeps one of the two; `fuse` joins both.

    Raises ValueError for unknown options or a reduction below 1.
    """

    def __init__(
        self,
        channels: int,
        *,
        query_reduction: int = 8,
        fuse: Literal["sum", "mean"] = "sum",
        channel_softmax: Literal["flipped", "plain"] = "flipped",
        branches: Literal["both", "position", "channel"] = "both",
    ) -> None:
        super().__init__()
        if query_reduction < 1 or fuse not in ("sum", "mean"):
            raise ValueError(f"{query_reduction=}, {fuse=}: 1 or more; sum or mean")
        if channel_softmax not in ("flipped", "plain") or branches not in ("both", "position", "channel"):
            raise ValueError(f"{channel_softmax=}, {branches=}: flipped or plain; both, position or channel")
        self.mean = fuse == "mean"
        self.starts_as_identity = self.mean or branches != "both"
        self.sign = -1 if channel_softmax == "flipped" else 1
        self.gamma_p = self.gamma_c = None
        if branches != "channel":
            narrow = max(channels // query_reduction, 1)
            self.query, self.key = nn.Linear(channels, narrow), nn.Linear(channels, narrow)
            self.value = nn.Linear(channels, channels)
            self.gamma_p = nn.Parameter(torch.zeros(1))
        if branches != "position":
            self.gamma_c = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        """Join what positions and channels attend to."""
        t = flatten_tokens(x)
        outputs = []
        if self.gamma_p is not None:
            outputs.append(torch.addcmul(t, self.gamma_p.to(x.dtype), self.attend_positions(x).to(x.dtype)))
        if self.gamma_c is not None:
            outputs.append(torch.addcmul(t, self.gamma_c.to(x.dtype), self.attend_channels(t).to(x.dtype)))
        y = outputs[0] if len(outputs) == 1 else outputs[0] + outputs[1]
        if self.mean and len(outputs) == 2:
            y = y / 2
        return y.transpose(1, 2).unflatten(2, x.shape[2:])

    def attend_positions(self, x: Tensor) -> Tensor:
        """Return the values of all positions, weighed by query and key: (N, C, H, W) -> (N, HW, C)."""
        q, k, v = (flatten_tokens(apply_pointwise(x, layer)) for layer in (self.query, self.key, self.value))
        return attend_pairwise(q, k, v)

    def attend_channels(self, t: Tensor) -> Tensor:
        """Return the maps of all channels, weighed by how little (or much) they agree: (N, HW, C) -> (N, HW, C)."""
        with torch.autocast(t.device.type, enabled=False):  # sums over HW positions, before a softmax
            values = promote_half(t)
            weights = self.channel_affinity(values)
        return t @ weights.to(t.dtype).transpose(1, 2)

    def channel_affinity(self, t: Tensor) -> Tensor:
        """Return (N, HW, C) -> (N, C, C): each row is a query, and sums to 1."""
        return (t.transpose(1, 2) @ t * self.sign).softmax(2)

    def observe(self, inputs: tuple[Tensor, ...], output: Tensor) -> list[Observation]:
        """Return what positions and channels attend to."""
        t, size = flatten_tokens(inputs[0]), (inputs[0].shape[2], inputs[0].shape[3])
        observations = []
        if self.gamma_p is not None:
            a = (self.query(t) @ self.key(t).transpose(1, 2)).softmax(2)
            observations.append(Observation("affinity", "positions attended to", a, queries=size, keys=size))
        if self.gamma_c is not None:
            observations.append(Observation("affinity", "channels attended to", self.channel_affinity(t)))
        return observations
