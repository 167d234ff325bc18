"""GCT: each channel is weighed by its energy relative to that of all channels.

    e = alpha * sqrt(sum of x^2 over H, W + eps)                 (N, C)
    n = gamma * e / sqrt(mean of e^2 over C + eps)               (N, C)
    y = x * (1 + tanh(n + beta))                                 (N, C, H, W)

alpha, gamma, beta: 3 C numbers per site, before every convolution. Starts as the identity (gamma = beta = 0);
a gate lies in (0, 2). Cost: one pass over x for the energy, one product; gradients take one pass each.

Where the sources differ: the paper divides by the l2 norm over channels and multiplies by sqrt(C), which is the
root mean square above; one survey document drops the factor (`across="sum"`). `mode="l1"` is the official code's
second mode: sums of absolute values (of the values themselves with `after_relu`), and their mean over channels.
Weight decay spares beta, as in the PyTorch script; the authors' TensorFlow table has ResNet-50 better with it
(`weight_decay_on_beta`).
"""

from typing import Any, Literal

import torch
from torch import Tensor, nn

from attncli.attention.card import Card
from attncli.attention.ops import gate, promote_half, spatial_mean

card = Card(
    title="Gated Channel Transformation for Visual Recognition",
    venue="CVPR",
    year=2020,
    arxiv="1909.11519",
    site="conv-input",
    sites=("gate", "pre-norm", "mid", "block-input", "stage", "head"),
    code="z-x-yang/GCT@68983ed PyTorch/GCT.py",
    identity=True,
    no_weight_decay=("beta",),
    aliases=("gated-channel-transformation",),
    notes=(
        "alpha has no gradient until gamma has left 0.",
        "One module per block, before its last convolution (the site mid), loses 0.1 to 0.2 points by the README.",
        "Another method shares the acronym: the Gaussian Context Transformer.",
    ),
)


class Attention(nn.Module):
    """(N, C, H, W) -> (N, C, H, W). `mode` names the norm over H, W; `across` how channels are brought together.

    `after_relu` says that x has no negative values, which saves mode l1 the absolute value;
    `weight_decay_on_beta` lets the optimiser decay beta like alpha and gamma.
    Raises ValueError for unknown modes or an eps that is not positive.
    """

    def __init__(
        self,
        channels: int,
        *,
        eps: float = 1e-5,
        mode: Literal["l2", "l1"] = "l2",
        after_relu: bool = False,
        across: Literal["mean", "sum"] = "mean",
        weight_decay_on_beta: bool = False,
    ) -> None:
        super().__init__()
        if eps <= 0 or mode not in ("l2", "l1") or across not in ("mean", "sum"):
            raise ValueError(f"eps={eps}, mode={mode!r}, across={across!r}: eps > 0, mode l2 or l1, across mean or sum")
        self.eps = eps
        self.mode = mode
        self.after_relu = after_relu
        self.across = across
        self.no_weight_decay = () if weight_decay_on_beta else card.no_weight_decay
        self.alpha = nn.Parameter(torch.ones(1, channels))  # no vectors: alpha and gamma take weight decay
        self.gamma = nn.Parameter(torch.zeros(1, channels))
        self.beta = nn.Parameter(torch.zeros(1, channels))

    def forward(self, x: Tensor) -> Tensor:
        """Weigh the channels of x."""
        norm = self._embed_l2 if self.mode == "l2" else self._embed_l1
        e, scale = norm(x)  # (N, C), (N, 1)
        s = 1 + torch.tanh(self.gamma / scale * e + self.beta)
        return gate(x, s)

    def _embed_l2(self, x: Tensor) -> tuple[Tensor, Tensor]:
        e = self.alpha * (spatial_energy(x) + self.eps).sqrt()
        return e, (self._reduce_channels(e.square()) + self.eps).sqrt()

    def _embed_l1(self, x: Tensor) -> tuple[Tensor, Tensor]:
        e = self.alpha * _spatial_sum(x if self.after_relu else x.abs())
        return e, self._reduce_channels(e.abs()) + self.eps

    def _reduce_channels(self, e: Tensor) -> Tensor:
        return e.mean(1, keepdim=True) if self.across == "mean" else e.sum(1, keepdim=True)


def spatial_energy(x: Tensor) -> Tensor:
    """Return the sum of x^2 over H and W: (N, C, H, W) -> (N, C); in float32 for half precision and autocast."""
    with torch.autocast(x.device.type, enabled=False):  # or the products within would be made in half precision
        energy: Tensor = _SpatialEnergy.apply(x)
    return energy


def _spatial_sum(x: Tensor) -> Tensor:
    with torch.autocast(x.device.type, enabled=False):
        return spatial_mean(promote_half(x)) * (x.shape[2] * x.shape[3])


class _SpatialEnergy(torch.autograd.Function):
    """The sum of squares with its gradient written out: one product of x and one number per channel."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return _spatial_sum(promote_half(x).square())

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        x: Tensor = ctx.saved_tensors[0]
        return x * (2 * grad).to(x.dtype)[:, :, None, None]
