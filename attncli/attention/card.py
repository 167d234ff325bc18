"""The card of a mechanism (its paper, its site, its training rules), and the sites of a network."""

from dataclasses import dataclass
from typing import Literal

Site = Literal[
    "gate", "pre-norm", "conv", "branch-convs", "conv-input", "mid", "block-input", "join", "stage", "head", "input",
    "frames", "frames-head", "model",
]  # fmt: skip

SITES: dict[str, str] = {
    "gate": "end of the residual branch, after its last norm, before the sum: x -> y",
    "pre-norm": "between the last spatial (3x3, depthwise) convolution of a block and its norm: x -> y",
    "conv": "in place of a 3x3 convolution: x -> y with the convolution's width and stride",
    "branch-convs": "in place of every convolution of a residual branch, 1x1 ones too: as conv, with its kernel",
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
    "channels_in": "width of the map it takes, if that may differ (conv, join); colour planes (model)",
    "stride": "stride of the convolution or block it stands for (conv, join)",
    "groups": "groups of the convolution it replaces (conv)",
    "size": "(H, W) of the map it takes; of the image (input, model)",
    "stage": "number of the stage, from 1 (gate, pre-norm, conv, conv-input, mid, block-input, join, stage)",
    "frames": "T, frames of a clip (frames, frames-head)",
    "classes": "number of classes (frames-head, model)",
}


@dataclass(frozen=True, kw_only=True)
class Card:
    """The facts of a mechanism: its paper, where the paper puts it, what training must respect.

    `stages` and `blocks` count from 1, or from the end with negative numbers; None means all of them. In a network
    of three stages (CIFAR) `cifar_stages` and `cifar_blocks` replace them if given. With `whole_last_stage` every
    block of the last stage gets the mechanism, whatever `blocks` says. `mobile_site` is the site in our networks of
    inverted residuals (MobileNets), if the paper uses another one there. `convs` names which of a basic block's two
    3x3 convolutions the site conv means. With `replaces_norm` the mechanism has its own norm, and the norm of the
    convolution that it replaces is removed. `host_kernel` names the parameter that starts as the kernel of the replaced
    convolution, if both have the same shape. With `zero_init_residual` each residual block starts as its shortcut,
    unless a recipe says otherwise. Parameter names are those of `named_parameters`; a prefix stands for everything
    below it.
    """

    title: str
    site: Site
    venue: str = ""
    year: int = 0  # 0 = not published
    arxiv: str | None = None
    code: str = ""  # the code that the maths follows: "owner/repo@commit file"
    sites: tuple[Site, ...] = ()  # other sites where it can go
    mobile_site: Site | None = None
    stages: tuple[int, ...] | None = None
    blocks: tuple[int, ...] | None = None
    cifar_stages: tuple[int, ...] | None = None
    cifar_blocks: tuple[int, ...] | None = None
    whole_last_stage: bool = False
    convs: Literal["all", "first", "last"] = "all"
    replaces_norm: bool = False
    host_kernel: str | None = None
    zero_init_residual: bool = False  # its code starts the last norm of each residual branch with weight 0
    identity: bool = False  # y = x for every x at initialisation, unless a module's `starts_as_identity` says otherwise
    no_weight_decay: tuple[str, ...] = ()
    lr_scale: tuple[tuple[str, float], ...] = ()  # (parameter name or prefix, factor on the learning rate)
    dead: tuple[str, ...] = ()  # parameters that learn nothing at the default options; `*` stands for any text
    dead_because: str = ""  # why their gradient is always zero in training
    floor: str = ""  # what keeps small widths working, for example "hidden width max(C // r, 1)"
    aliases: tuple[str, ...] = ()  # other names; "NAME OPTION=VALUE ..." if it stands for options too
    notes: tuple[str, ...] = ()  # what a reader of results must know, one sentence each
