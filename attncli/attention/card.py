"""What a mechanism's file says of itself, and the sites of a network where a mechanism can go."""

from dataclasses import dataclass
from typing import Literal

Site = Literal[
    "gate", "pre-norm", "conv", "conv-input", "mid", "block-input", "join", "stage", "head", "input",
    "frames", "frames-head", "model",
]  # fmt: skip

SITES: dict[str, str] = {
    "gate": "end of the residual branch, after its last norm, before the sum: x -> y",
    "pre-norm": "between the last spatial (3x3, depthwise) convolution of a block and its norm: x -> y",
    "conv": "in place of a 3x3 convolution: x -> y with the convolution's width and stride",
    "conv-input": "before every convolution: x -> y",
    "mid": "inside the branch, before its last convolution (after the norm and ReLU that precede it): x -> y",
    "block-input": "on the input of a block, before branch and shortcut: x -> y",
    "join": "in place of the sum: (x, branch, shortcut) -> y",
    "stage": "between blocks, after the ReLU of a block: x -> y",
    "head": "on the last feature map, before pooling: x -> y",
    "input": "on the images, before the first convolution: x -> y",
    "frames": "inside the branch, before its 3x3 convolution, frames folded into the batch: (N*T, C, H, W) -> same",
    "frames-head": "in place of averaging over frames and the classifier: (N*T, C) -> (N, classes)",
    "model": "the whole network: images -> logits",
}

SITE_ARGUMENTS: dict[str, str] = {
    "channels": "width C of the map it returns (and takes, except at conv and join)",
    "channels_in": "width of the map it takes, where that may differ (conv, join); colour planes (model)",
    "stride": "stride of the convolution or block it stands for (conv, join)",
    "groups": "groups of the convolution it replaces (conv)",
    "size": "(H, W) of the map it takes; of the image (input, model)",
    "stage": "number of the stage, from 1 (gate, pre-norm, conv, conv-input, mid, block-input, join, stage)",
    "frames": "T, frames of a clip (frames, frames-head)",
    "classes": "number of classes (frames-head, model)",
}


@dataclass(frozen=True, kw_only=True)
class Card:
    """The facts of a mechanism: where it comes from, where its paper puts it, what training must respect.

    `stages` and `blocks` count from 1, or from the end with negative numbers; None means all of them. In a
    network of three stages (CIFAR) `cifar_stages` and `cifar_blocks` stand in where they are given. With
    `whole_last_stage` every block of the last stage counts, whatever the card's `blocks`.
    `mobile_site` is the site in networks of inverted residuals (MobileNets), where the paper has another there.
    `convs` tells which of a basic block's two 3x3 convolutions are meant at the site conv. `replaces_norm`:
    the mechanism has its own norm, so that of the convolution it replaces goes. Parameter names are those
    of the module (`named_parameters`), prefixes standing for all beneath.
    """

    title: str
    venue: str
    year: int
    arxiv: str | None
    site: Site
    code: str  # the code that the maths follows: "owner/repo@commit file"
    sites: tuple[Site, ...] = ()  # where else it can go
    mobile_site: Site | None = None
    stages: tuple[int, ...] | None = None
    blocks: tuple[int, ...] | None = None
    cifar_stages: tuple[int, ...] | None = None
    cifar_blocks: tuple[int, ...] | None = None
    whole_last_stage: bool = False
    convs: Literal["all", "first", "last"] = "all"
    replaces_norm: bool = False
    identity: bool = False  # y = x for every x at initialisation
    no_weight_decay: tuple[str, ...] = ()
    lr_scale: tuple[tuple[str, float], ...] = ()  # (parameter name or prefix, factor on the learning rate)
    dead: tuple[str, ...] = ()  # parameters whose gradient is zero by the maths; `*` stands for any text
    floor: str = ""  # what keeps small widths working, for example "hidden width max(C // r, 1)"
    notes: tuple[str, ...] = ()  # what a reader of results must know, a sentence each
