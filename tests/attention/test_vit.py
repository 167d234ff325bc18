"""Own facts of ViT."""

import json
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from attncli.attention.self_attention.vit import Attention, EncoderBlock, choose_patch_sides
from tests.attention.case import randomise
from tests.shared import shared

OPTIONS: list[dict[str, Any]] = [
    {},
    {"variant": "ti", "depth": 1},
    {"dim": 24, "depth": 2},
    *(
        {"depth": 1} | option
        for option in (
            {"patch_size": 4},
            {"patch_size": (4, 2)},
            {"heads": 3, "dim_head": 5},
            {"heads": 1, "dim_head": 64},
            {"mlp_dim": 40},
            {"pool": "cls"},
            {"dropout": 0.1},
            {"emb_dropout": 0.1},
            {"qkv_bias": True},
            {"eps": 1e-6},
            {"init": "google"},
            {"init": "timm"},
        )
    ),
]
FACTS: list[dict[str, Any]] = [
    {"size": (8, 8), "channels_in": 1},
    {"size": (32, 24), "channels_in": 3},
]


def parameters(facts: dict[str, Any], options: dict[str, Any]) -> int:
    """Embedding, class token, positions, blocks and head, as on the card."""
    (h, w), c, k = facts["size"], facts["channels_in"], facts["classes"]
    small = h == 8
    if options.get("variant") == "ti":
        d, depth, heads, d_h, m = 192, 12, 3, 64, 768
    else:
        d, depth, heads, d_h, m = (64, 4, 4, 16, 128) if small else (192, 6, 3, 64, 384)
    d, depth = options.get("dim", d), options.get("depth", depth)
    heads, d_h, m = options.get("heads", heads), options.get("dim_head", d_h), options.get("mlp_dim", m)
    p = options.get("patch_size", 2 if small else 4)
    p1, p2 = (p, p) if isinstance(p, int) else p
    projection = 0 if heads == 1 and d_h == d else heads * d_h * d + d
    qkv = 3 * heads * d_h * (d + (1 if options.get("qkv_bias") else 0))
    block = 4 * d + qkv + projection + 2 * d * m + m + d
    tokens = (h // p1) * (w // p2)
    return p1 * p2 * c * d + d + d + (tokens + 1) * d + depth * block + 2 * d + d * k + k


NAMES = (
    ("to_patch_embedding.1", "embed"),
    ("mlp_head.0", "norm"),
    ("mlp_head.1", "head"),
    ("pos_embedding", "position"),
    ("cls_token", "cls"),
    ("transformer.layers.", "blocks."),
    (".0.norm.", ".norm1."),
    (".0.fn.to_qkv.", ".qkv."),
    (".0.fn.to_out.", ".project."),
    (".1.norm.", ".norm2."),
    (".1.fn.net.", ".mlp."),
)


def official(meta: dict[str, Any], params: dict[str, Tensor]) -> tuple[nn.Module, dict[str, Tensor]]:
    """ViT(image_size, patch_size, num_classes, dim, depth, heads, mlp_dim, pool, channels, dim_head, ...)."""
    args = meta.get("ctor") or meta["args"]
    size, patch = (pair(args[key]) for key in ("image_size", "patch_size"))
    channels = args.get("channels", 3)
    module = Attention(
        args["num_classes"],
        size,
        channels,
        patch_size=patch,
        dim=args["dim"],
        depth=args["depth"],
        heads=args["heads"],
        dim_head=args.get("dim_head", 64),
        mlp_dim=args["mlp_dim"],
        pool=args.get("pool", "cls"),
        dropout=args.get("dropout", 0.0),
        emb_dropout=args.get("emb_dropout", 0.0),
    )
    state = {}
    for name, value in params.items():
        for theirs, ours in NAMES:
            name = name.replace(theirs, ours)
        if name == "embed.weight":  # (d, rows * columns * channels) -> (d, channels, rows, columns)
            value = value.view(-1, *patch, channels).permute(0, 3, 1, 2)
        state[name] = value
    return module, state


def pair(value: int | list[int]) -> tuple[int, int]:
    """A side, or (height, width)."""
    return (value, value) if isinstance(value, int) else (value[0], value[1])


def test_extra_arrays_of_the_fixture() -> None:
    """The embedded patches and the logits with pool cls equal the fixture's."""
    arrays = np.load(shared("parity/vit.npz"))
    data = {k: torch.from_numpy(arrays[k]) for k in arrays.files if k != "meta"}
    meta = json.loads(str(arrays["meta"]))
    params = {k.removeprefix("param/"): v for k, v in data.items() if k.startswith("param/")}
    module, state = official({**meta, "args": {**meta["args"], "pool": "cls"}}, params)
    module.double().load_state_dict(state)
    torch.testing.assert_close(module.eval()(data["x"]), data["y_cls"], rtol=1e-9, atol=1e-10)
    torch.testing.assert_close(module.embed_patches(data["x"]), data["tokens"], rtol=1e-9, atol=1e-10)


def test_hand_computed_token() -> None:
    """A patch is flattened as row, column, channel: with weights 1, 2, 4, ... the token is that binary number."""
    module = Attention(2, (8, 8), 2, patch_size=2, dim=1, depth=1, heads=1, dim_head=1, mlp_dim=1).double()
    with torch.no_grad():
        weight = 2.0 ** torch.arange(8, dtype=torch.float64)
        module.embed.weight.copy_(weight.view(1, 2, 2, 2).permute(0, 3, 1, 2))
        module.embed.bias.zero_()
    x = torch.zeros(1, 2, 8, 8, dtype=torch.float64)
    x[0, 1, 0, 1] = 1  # row 0, column 1, channel 1 of the first patch: 2 ** 3
    x[0, 0, 3, 2] = 1  # row 1, column 0, channel 0 of patch (1, 1), the sixth: 2 ** 4
    expected = torch.zeros(1, 16, 1, dtype=torch.float64)
    expected[0, 0], expected[0, 5] = 8, 16
    assert torch.equal(module.embed_patches(x), expected)


def test_block_equals_the_formula() -> None:
    """A block is softmax(q k^T / sqrt(d_h)) v and an MLP, pre-norm, residual outside the norm."""
    block = randomise(EncoderBlock(6, 2, 5, 7, 0.0, True, 1e-5).double()).eval()
    z = torch.randn(2, 4, 6, dtype=torch.float64)
    q, k, v = block.qkv(F.layer_norm(z, (6,), block.norm1.weight, block.norm1.bias)).split(10, dim=-1)
    heads = [((q[..., s] @ k[..., s].mT) / 5**0.5).softmax(-1) @ v[..., s] for s in (slice(0, 5), slice(5, 10))]
    y = z + block.project[0](torch.cat(heads, -1))
    y = y + block.mlp(F.layer_norm(y, (6,), block.norm2.weight, block.norm2.bias))
    torch.testing.assert_close(block(z), y)


def test_shapes_and_parameters_of_the_card() -> None:
    """256 px: 64 patches of 32, 65 tokens of 1024, qkv of 1536, 42,039,272 parameters (claim vit-shapes)."""
    with torch.device("meta"):
        module = Attention(1000, (256, 256))
        tokens = module.embed_patches(torch.empty(2, 3, 256, 256))
    assert tokens.shape == (2, 64, 1024)
    assert module.position.shape == (1, 65, 1024)
    assert module.blocks[0].qkv.out_features == 1536
    assert sum(p.numel() for p in module.parameters()) == 42_039_272


@pytest.mark.parametrize(("variant", "millions"), [("ti", 5.72), ("s", 22.05), ("b", 86.567656)])
def test_parameters_of_the_published_variants(variant: Any, millions: float) -> None:
    """ViT-B/16 at 224 px has 86,567,656 parameters (claim vit-params), Ti and S what timm lists."""
    with torch.device("meta"):
        module = Attention(1000, (224, 224), variant=variant, patch_size=16, pool="cls", qkv_bias=True)
    found = sum(p.numel() for p in module.parameters()) / 1e6
    assert found == pytest.approx(millions, abs=0 if variant == "b" else 5e-3)


@pytest.mark.parametrize(
    ("size", "side"), [((8, 8), 2), ((28, 28), 4), ((32, 32), 4), ((96, 96), 12), ((224, 224), 28), ((256, 256), 32)]
)
def test_default_patches(size: tuple[int, int], side: int) -> None:
    """The default patch leaves about 8 x 8 of them."""
    assert choose_patch_sides(size, None) == (side, side)


def test_mean_pooling_counts_the_class_token() -> None:
    """pool mean averages all L + 1 tokens of the last block, class token included."""
    module = randomise(Attention(5, (8, 8), 1).double()).eval()
    x = torch.randn(2, 1, 8, 8, dtype=torch.float64)
    seen: list[Tensor] = []
    module.blocks.register_forward_hook(lambda _m, _i, out: seen.append(out))
    y = module(x)
    assert seen[0].shape[1] == 17
    torch.testing.assert_close(y, module.head(module.norm(seen[0].mean(1))))


def test_initialisations() -> None:
    """lucidrains: positions of deviation 1; google: class token and head 0, positions 0.02; timm: all weights 0.02."""
    torch.manual_seed(0)
    plain, google, timm = (Attention(5, (32, 32), init=i) for i in ("lucidrains", "google", "timm"))
    assert plain.position.std().item() == pytest.approx(1, abs=0.02)
    assert google.position.std().item() == pytest.approx(0.02, rel=0.02)
    assert not google.cls.any()
    assert not google.head.weight.any()
    assert timm.blocks[0].qkv.weight.std().item() == pytest.approx(0.02, rel=0.02)
    assert timm.cls.abs().max() < 1e-4


def test_google_draws_q_k_and_v_each_for_itself() -> None:
    """Their bound is sqrt(6 / (d + h d_h)), d = h d_h = 192; drawn as one layer it was sqrt(2) smaller."""
    torch.manual_seed(0)
    google = Attention(5, (32, 32), init="google")
    for part in google.blocks[0].qkv.weight.chunk(3):
        assert part.shape == (192, 192)
        assert part.std().item() == pytest.approx((2 / (192 + 192)) ** 0.5, rel=0.02)
        assert part.abs().max().item() == pytest.approx((6 / (192 + 192)) ** 0.5, rel=0.01)


def test_google_embeds_patches_with_lecun_normal() -> None:
    """A patch has 4 x 4 x 3 numbers: variance 1/48, cut at two deviations of the uncut normal, and the bias 0."""
    torch.manual_seed(0)
    embed = Attention(5, (32, 32), init="google").embed
    assert embed.weight[0].numel() == 48
    assert embed.weight.std().item() == pytest.approx(48**-0.5, rel=0.02)
    assert embed.weight.abs().max().item() == pytest.approx(2 / 0.8796 * 48**-0.5, rel=0.01)
    assert not embed.bias.any()


def test_the_default_start_is_that_of_torch() -> None:
    """lucidrains keeps what torch draws for each part, in order: patches, class token, positions, q, k and v."""
    torch.manual_seed(0)
    model = Attention(5, (32, 32), depth=1)
    torch.manual_seed(0)
    embed, cls, position = nn.Conv2d(3, 192, 4, stride=4), torch.randn(1, 1, 192), torch.randn(1, 65, 192)
    qkv = nn.Linear(192, 3 * 192, bias=False)
    pairs = ((model.embed.weight, embed.weight), (model.embed.bias, embed.bias), (model.cls, cls))
    assert all(torch.equal(ours, theirs) for ours, theirs in pairs)
    assert torch.equal(model.position, position)
    assert torch.equal(model.blocks[0].qkv.weight, qkv.weight)


@pytest.mark.parametrize(
    "options",
    [{"patch_size": 5}, {"patch_size": (4,)}, {"patch_size": 0}, {"depth": 0}, {"heads": 0}],
    ids=str,
)
def test_refusals(options: dict[str, Any]) -> None:
    """Patches that do not tile the image and counts below one are refused."""
    with pytest.raises(ValueError, match=r"patch_size|at least 1"):
        Attention(5, (32, 32), **options)


def test_image_without_patches_is_refused() -> None:
    """Where only one-pixel patches tile a large image, the default refuses instead of making thousands of tokens."""
    with pytest.raises(ValueError, match="resize"):
        Attention(5, (101, 97))
