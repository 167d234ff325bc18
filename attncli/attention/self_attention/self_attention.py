"""Self-attention (non-local block): each position of the map becomes a mean over all positions like it.

    q, k, v = W_q x + b_q, W_k x + b_k, W_v x + b_v      (N, HW, C'), 1x1 convolutions, C' = C // 2
    A_ij = exp(q_i . k_j) / sum_j exp(q_i . k_j)         (N, HW, HW): a row is a query, and sums to 1
    y = x + BN(W_o (A v) + b_o)                          (N, C, H, W)

BN's weight and bias start at 0 (without BN: W_o and b_o), so the block starts as the identity. Learns
2 C^2 + 4.5 C numbers at C' = C/2. Cost: 4 HW C C' for the convolutions and 2 (HW)^2 C' for the attention, which
is quadratic in the number of positions: keep to maps up to about 28 x 28.

`pairwise` is f in y_i = sum_j f(x_i, x_j) g_j / C(x), as the paper's Section 3.2 defines it and its Table 2a compares:

    embedded-gaussian   f = exp(q_i . k_j),            C = sum_j f     the above
    gaussian            f = exp(x_i . x_j),            C = sum_j f     no W_q, W_k
    dot-product         f = q_i . k_j,                 C = number of j
    concatenation       f = relu(w_f . [q_i ; k_j]),   C = number of j, w_f of 2 C' numbers without a bias

At C' = C/2 they learn 2 C^2 + 4.5 C, C^2 + 3.5 C, 2 C^2 + 4.5 C and 2 C^2 + 5.5 C numbers.

`variant="sagan"`: q and k have C // 8 channels, v has C, there is no W_o, and y = x + gamma A v with gamma = 0 at
the start (the position half of DANet). Learns C^2 (1 + 2/8) + C (1 + 2/8) + 1 numbers.

Where the sources differ: the authors' Caffe2 code divides q . k by sqrt(C'); the paper's embedded Gaussian and the
PyTorch code followed here do not (`scale=True` does). Its 2x2 max-pooling of keys and values comes before their
convolutions (`sub_sample="input"`), that of the PyTorch code after them ("projection"); the default pools nothing.
Initialisation is the authors': weights normal with deviation 0.01, biases 0. SAGAN's own TensorFlow code has
spectral norm, pooling and an output convolution; `sagan` is the well-known PyTorch form, which has none of them.
"""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from attncli.attention.card import Card
from attncli.attention.observation import Observation
from attncli.attention.ops import is_channels_last
from attncli.attention.pairwise_attention import apply_pointwise, attend_pairwise, flatten_tokens, unflatten_tokens

card = Card(
    title="Non-local Neural Networks",
    venue="CVPR",
    year=2018,
    arxiv="1711.07971",
    site="stage",
    code="AlexHex7/Non-local_pytorch@ec15789 lib/non_local_embedded_gaussian.py",
    sites=("head", "block-input"),
    stages=(3,),
    blocks=(-2,),
    cifar_stages=(2,),
    cifar_blocks=(-1,),
    identity=True,
    dead=("key.bias", "value.bias", "out.bias"),
    dead_because="that of key adds one number to all values of a softmax, the norm takes away the others",
    floor="C' = max(C // 2, 1); sagan max(C // 8, 1); on a 1 x 1 map its attention is constant",
    aliases=("non-local", "non-local-block", "NONLocalBlock2D", "nl-net", "nl", "NonLocalAttn"),
    notes=(
        "Products of queries and keys are not divided by sqrt(C') unless `scale` is set.",
        "One block before the last of stage 3, as for ImageNet in CGNL; the paper's video networks use five.",
    ),
)

PAIRWISE_FUNCTIONS = ("embedded-gaussian", "gaussian", "dot-product", "concatenation")


class Attention(nn.Module):
    """(N, C, H, W) -> (N, C, H, W). C' is `hidden`, or C // `reduction` (None: 2, and 8 for sagan).

    `pairwise` says how two positions are compared. `bn=False` leaves out the norm after W_o (sagan has none). Raises
    ValueError if a width is not positive, if `scale` or sagan is combined with another function than the embedded
    Gaussian, and in forward if a map is too small to be sub-sampled.
    """

    def __init__(
        self,
        channels: int,
        *,
        variant: Literal["non-local", "sagan"] = "non-local",
        pairwise: Literal["embedded-gaussian", "gaussian", "dot-product", "concatenation"] = "embedded-gaussian",
        reduction: int | None = None,
        hidden: int | None = None,
        sub_sample: Literal["none", "input", "projection"] = "none",
        bn: bool = True,
        scale: bool = False,
    ) -> None:
        super().__init__()
        if variant not in ("non-local", "sagan") or sub_sample not in ("none", "input", "projection"):
            raise ValueError(f"unknown variant {variant!r} or sub_sample {sub_sample!r}")
        sagan = variant == "sagan"
        _check_pairwise_function(pairwise, sagan, scale)
        reduction = (8 if sagan else 2) if reduction is None else reduction
        hidden = max(channels // max(reduction, 1), 1) if hidden is None else hidden
        if reduction < 1 or hidden < 1:
            raise ValueError(f"reduction={reduction}, hidden={hidden}: both must be positive")
        self.sub_sample = sub_sample
        self.pairwise = pairwise
        self.scale = hidden**-0.5 if scale else 1.0
        self.query = nn.Linear(channels, hidden) if pairwise != "gaussian" else None
        self.key = nn.Linear(channels, hidden) if pairwise != "gaussian" else None
        self.value = nn.Linear(channels, channels if sagan else hidden)
        self.out = None if sagan else nn.Linear(hidden, channels)
        self.norm = nn.BatchNorm2d(channels) if bn and not sagan else None
        self.gamma = nn.Parameter(torch.zeros(1)) if sagan else None
        self.joint = nn.Linear(2 * hidden, 1, bias=False) if pairwise == "concatenation" else None
        if not sagan:
            self._initialize_weights()

    def _initialize_weights(self) -> None:
        for layer in (self.query, self.key, self.value, self.out, self.joint):
            if layer is not None:
                nn.init.normal_(layer.weight, std=0.01)
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)
        last = self.out if self.norm is None else self.norm
        if last is not None:
            nn.init.zeros_(last.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Add to each position what it attends to."""
        y = unflatten_tokens(self._attend(*self._project_qkv(x)), x.shape)  # (N, C', H, W)
        if self.out is not None:
            y = apply_pointwise(y if is_channels_last(x) else y.contiguous(), self.out)
        if self.gamma is not None:
            return torch.addcmul(x, y, self.gamma.to(y.dtype))
        return x + (y if self.norm is None else self.norm(y))

    def observe(self, inputs: tuple[Tensor, ...], output: Tensor) -> list[Observation]:
        """Return the map A."""
        h, w = inputs[0].shape[2:]
        keys = (h, w) if self.sub_sample == "none" else (h // 2, w // 2)
        affinity, what = self.position_affinity(inputs[0]), "positions attended to"
        if self.pairwise in ("dot-product", "concatenation"):  # whose rows do not sum to 1
            affinity, what = affinity.abs(), "share of each position in what is added"
            affinity = affinity / affinity.sum(-1, keepdim=True).clamp_min(torch.finfo(affinity.dtype).tiny)
        return [Observation("affinity", what, affinity, queries=(h, w), keys=keys)]

    def position_affinity(self, x: Tensor) -> Tensor:
        """Return the map A = f / C, (N, HW, HW) or (N, HW, HW/4): rows are queries in row-major order.

        Those of the two Gaussian functions sum to 1.
        """
        q, k, _ = self._project_qkv(x)
        if self.pairwise in ("dot-product", "concatenation"):
            return self._compare_linearly(q, k)
        return (q @ k.transpose(1, 2) * self.scale).softmax(-1)

    def _attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Return A v, (N, HW, C')."""
        if self.pairwise in ("dot-product", "concatenation"):
            return torch.bmm(self._compare_linearly(q, k).to(v.dtype), v)
        return attend_pairwise(q, k, v, self.scale)

    def _compare_linearly(self, q: Tensor, k: Tensor) -> Tensor:
        """Return f of two positions without an exponential, over the number of keys."""
        if self.joint is None:
            return torch.bmm(q, k.transpose(1, 2)) / k.shape[1]
        for_query, for_key = self.joint.weight[0].chunk(2)  # w_f . [q ; k] is a sum of two products
        return F.relu((q @ for_query)[:, :, None] + (k @ for_key)[:, None, :]) / k.shape[1]

    def _project_qkv(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return queries (N, HW, C'), keys and values (N, HW, ...), or (N, HW/4, ...) if sub-sampled."""
        if self.sub_sample != "none" and min(x.shape[2:]) < 2:
            raise ValueError(f"sub_sample={self.sub_sample!r} needs a map of 2x2 or more, not {tuple(x.shape[2:])}")
        q = flatten_tokens(x if self.query is None else apply_pointwise(x, self.query))
        x = F.max_pool2d(x, 2) if self.sub_sample == "input" else x
        k, v = x if self.key is None else apply_pointwise(x, self.key), apply_pointwise(x, self.value)
        if self.sub_sample == "projection":
            k, v = F.max_pool2d(k, 2), F.max_pool2d(v, 2)
        return q, flatten_tokens(k), flatten_tokens(v)


def _check_pairwise_function(pairwise: str, sagan: bool, scale: bool) -> None:
    if pairwise not in PAIRWISE_FUNCTIONS:
        raise ValueError(f"pairwise={pairwise!r}: one of {', '.join(PAIRWISE_FUNCTIONS)}")
    if pairwise != "embedded-gaussian" and (sagan or scale):
        raise ValueError(
            f"pairwise={pairwise!r} has neither a scale nor a sagan variant; both are of embedded-gaussian"
        )
