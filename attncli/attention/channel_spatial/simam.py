"""SimAM: each value is weighed by how far it stands out from its own channel, without any parameter.

    mu = mean of x over H, W;  v = sum (x - mu)^2 / (HW - 1)                  (N, C)
    y = x * sigmoid((x - mu)^2 / (4 (v + e_lambda)) + 1/2)                    (N, C, H, W)

The argument of the sigmoid is the inverse of the energy of a linear neuron that separates one value from the
others of its channel (Eq. 5 of the paper). It is 1/2 or more, so the gate lies in [0.6225, 1) and switches nothing off.
Learns nothing. Cost: two reductions and a few passes over x; the gradient is written out below, so that only x
and two numbers per channel are kept for it.

Where the sources differ: the paper divides the variance by HW, the official code by HW - 1 (the author confirms
the latter). A 1 x 1 map gives 0/0 there; here its variance counts as 0. The authors train with e_lambda = 1e-4 on
CIFAR and 0.1 on ImageNet.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from attncli.attention.axis_reductions import memory_order, usual_order
from attncli.attention.card import Card
from attncli.attention.ops import promote_half

card = Card(
    title="SimAM: A Simple, Parameter-Free Attention Module for Convolutional Neural Networks",
    venue="ICML",
    year=2021,
    arxiv=None,
    site="pre-norm",
    sites=("gate", "mid", "block-input", "stage", "head"),
    code="ZjjConan/SimAM@ae98f43 networks/attentions/simam_module.py",
    floor="on a 1 x 1 map the variance counts as 0",
    aliases=("simam_module", "parameter-free-attention"),
    notes=("The authors use e_lambda = 1e-4 on CIFAR and 0.1 on ImageNet; the default is 1e-4.",),
)


class Attention(nn.Module):
    """(N, C, H, W) -> (N, C, H, W). Half precision is weighed in float32.

    Raises ValueError if e_lambda is not positive: a constant channel would divide 0 by 0.
    """

    def __init__(self, *, e_lambda: float = 1e-4) -> None:
        super().__init__()
        if e_lambda <= 0:
            raise ValueError(f"e_lambda={e_lambda}: positive, or a constant channel would divide 0 by 0")
        self.e_lambda = e_lambda

    def forward(self, x: Tensor) -> Tensor:
        """Weigh every value of x."""
        t = memory_order(x, x)
        axes = (2, 3) if t is x else (1, 2)  # of H and W
        y: Tensor = _EnergyGate.apply(t, axes, self.e_lambda)
        return usual_order(y, x)


class _EnergyGate(torch.autograd.Function):
    """y = x sigmoid(d^2 + 1/2), d = (x - mu) k, k = 1 / (2 sqrt(v + e_lambda)), v = sum (x - mu)^2 / m.

    With r = d * dL/dq, q = d^2 + 1/2, the gradient is
    dL/dx = g sigmoid(q) + 2 k (r - mean(r) - 4 d sum(r d) / m):  through d as such, through mu, through v.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, axes: tuple[int, int], e_lambda: float) -> Tensor:
        values = promote_half(x)
        ctx.axes, ctx.m = axes, max(x.shape[axes[0]] * x.shape[axes[1]] - 1, 1)
        mu = values.mean(axes, keepdim=True)
        squares = (values - mu).square_()
        v = squares.sum(axes, keepdim=True) / ctx.m
        k = 0.5 * (v + e_lambda).rsqrt_()
        ctx.save_for_backward(x, mu, k)
        return squares.mul_(k.square()).add_(0.5).sigmoid_().mul_(values).to(x.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        x, mu, k = ctx.saved_tensors
        values, g = promote_half(x), promote_half(grad)
        d = (values - mu).mul_(k)
        s = torch.addcmul(d.new_full((), 0.5), d, d).sigmoid_()
        dx = g * s
        r = dx * values
        r.addcmul_(r, s, value=-1).mul_(d)  # dL/dq = g x s (1 - s), times d
        rd = torch.mul(r, d, out=s).sum(ctx.axes, keepdim=True)
        dx.addcmul_(r, 2 * k).addcmul_(d, k * rd * (-8 / ctx.m)).sub_(2 * k * r.mean(ctx.axes, keepdim=True))
        return dx.to(x.dtype), None, None
