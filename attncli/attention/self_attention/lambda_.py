"""Lambda layer: each position applies a linear map, made from all keys and values, to its query.

    q = BN(W_q x)                                        (N, h, k, HW), h heads
    K = softmax over positions of W_k x                  (N, u, k, HW)
    v = BN(W_v x)                                        (N, u, d, HW), d = C / h
    L = sum over u and positions of K v                  (N, k, d), one for the map
    L_p = sum over u of conv_rxr(v_u)                    (N, k, d) at every position; one r x r x k filter for all d
    y = q (L + L_p) at every position                    (N, C, H, W), heads joined

h 4, k 16, u 1, r 23. Stands for a 3x3 convolution; the norm and ReLU after it stay. A stride is a 3x3 average pool
after it. Learns C_in (h k + k u + d u) + 2 h k + 2 d u + k u r^2 + k numbers, fewer than the 3x3. Cost: HW k d
(2 h + r^2) multiply-adds: linear in the positions, no map of all pairs, but r^2 is 529.

Where the sources differ: the paper prints pseudo-code. timm has r 9, a 2x2 pool, and tables of fixed size as an
alternative. The filter bank has a bias in the port followed.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from attncli.attention.card import Card
from attncli.attention.observation import Observation
from attncli.attention.ops import is_channels_last, keep_layout, match_layout
from attncli.attention.pairwise_attention import apply_pointwise

card = Card(
    title="LambdaNetworks: Modeling Long-Range Interactions Without Attention",
    venue="ICLR",
    year=2021,
    arxiv="2102.08602",
    site="conv",
    code="d-li14/lambda.pytorch@646de55 lambda_layer.py",
    convs="last",
    zero_init_residual=True,
    floor="C must divide by the heads; on a 1 x 1 map the content part does not depend on keys",
    notes=(
        "Of a basic block's two convolutions it replaces the second: two in a row multiply six normalised maps.",
        "Its output is a product of two maps that running statistics normalise. In evaluation, if they lag behind by a "
        "factor, the output is wrong by its square, and the next block squares that again. Branches that start at "
        "zero, as in the code followed, prevent it.",
        "Its 23 x 23 filters make it slow: 6.6 G multiply-adds on ResNet-50 at 224 px, against 4.1 G.",
        "timm's lambda has model.options.r=9.",
    ),
    aliases=("LambdaLayer", "lambda-layer", "lambda_resnet", "LambdaNetworks"),
)


class Attention(nn.Module):
    """(N, C_in, H, W) -> (N, C, H', W'), H' = ceil(H / stride). `depth` is u, `key_width` k, `r` the filter's side.

    Raises ValueError for an even r, widths below 1, or heads that do not divide C.
    """

    def __init__(
        self,
        channels: int,
        channels_in: int,
        stride: int = 1,
        *,
        heads: int = 4,
        key_width: int = 16,
        depth: int = 1,
        r: int = 23,
    ) -> None:
        super().__init__()
        if min(heads, key_width, depth, r) < 1 or r % 2 == 0:
            raise ValueError(f"{heads=}, {key_width=}, {depth=}, {r=}: at least 1, and r odd")
        if channels % heads:
            raise ValueError(f"{heads} heads do not divide {channels} channels")
        self.heads, self.depth = heads, depth
        width = channels // heads
        self.widths = (heads * key_width, key_width * depth, width * depth)
        self.qkv = nn.Linear(channels_in, sum(self.widths), bias=False)
        self.query_norm, self.value_norm = nn.BatchNorm2d(self.widths[0]), nn.BatchNorm2d(self.widths[2])
        self.positions = nn.Conv2d(depth, key_width, r, padding=r // 2)
        self.down = nn.AvgPool2d(3, stride, padding=1) if stride > 1 else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Apply the map of each position to its query."""
        q, k, v = apply_pointwise(x, self.qkv).split(self.widths, 1)
        if x.device.type == "cpu" and is_channels_last(x):  # where norms are slow on slices
            q, v = match_layout(q, x), match_layout(v, x)
        q = keep_layout(self.query_norm(q)).unflatten(1, (self.heads, -1)).flatten(3)  # (N, h, k, HW)
        k = k.unflatten(1, (self.depth, -1)).flatten(3).softmax(3)  # (N, u, k, HW)
        v = keep_layout(self.value_norm(v)).unflatten(1, (self.depth, -1))  # (N, u, d, H, W)
        content = torch.einsum("nukp,nudp->nkd", k.to(v.dtype), v.flatten(3))
        local = self.compute_local_maps(v).to(v.dtype)
        y = torch.einsum("nhkp,nkd->nhdp", q.to(v.dtype), content.to(v.dtype))
        y = y + torch.einsum("nhkp,ndkp->nhdp", q.to(local.dtype), local)
        y = y.flatten(1, 2).unflatten(2, x.shape[2:])
        return self.down(match_layout(y, x))

    def observe(self, inputs: tuple[Tensor, ...], output: Tensor) -> list[Observation]:
        """Return the positions that each key of the content part sums over."""
        k = apply_pointwise(inputs[0], self.qkv).split(self.widths, 1)[1].flatten(2).softmax(2)
        size = (inputs[0].shape[2], inputs[0].shape[3])
        return [Observation("affinity", "positions that each key sums over", k, keys=size)]

    def compute_local_maps(self, v: Tensor) -> Tensor:
        """Return L_p: (N, u, d, H, W) -> (N, d, k, HW).

        Of a filter larger than the map only the part that can meet it is used: the rest would see zeros.
        """
        n, _, d, h, w = v.shape
        middle = self.positions.kernel_size[0] // 2
        up, left = min(middle, h - 1), min(middle, w - 1)
        weight = self.positions.weight[..., middle - up : middle + up + 1, middle - left : middle + left + 1]
        maps = F.conv2d(v.transpose(1, 2).flatten(0, 1), weight, self.positions.bias, padding=(up, left))
        return maps.unflatten(0, (n, d)).flatten(3)
