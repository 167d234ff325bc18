"""The exact totals that the cards of the mechanisms state: what each adds to a network, and networks as a whole."""

from typing import Any

import pytest

from attncli.attention.spatial import ram
from attncli.literature.published import PublishedNetwork
from tests.literature.case import count_parameters

CLASSES = {"resnet20": 10, "resnet32": 10, "resnet56": 10, "resnet110": 10}
ALL = (1, 2, 3, 4)
Case = tuple[str, str, dict[str, Any], int]

ADDED: list[Case] = [  # backbone, mechanism, what is set, parameters added
    *[("resnet18", "condconv", {"num_experts": e, "stages": ALL}, n) for e, n in ((4, 32_970_048), (8, 76_925_568))],
    *[("resnet50", "condconv", {"num_experts": e, "stages": ALL}, n) for e, n in ((4, 33_966_912), (8, 79_251_072))],
    *[("resnet50", "condconv", {"num_experts": e}, n) for e, n in ((4, 21_239_820), (8, 49_557_528))],
    ("resnet18", "condconv", {"num_experts": 4}, 24_779_792),
    ("resnet50", "bam", {}, 358_067),
    ("mobilenet_v2", "ca", {}, 445_776),
    ("resnet18", "cbam", {}, 89_880),
    ("resnet50", "cbam", {}, 2_532_592),
    ("resnet50", "danet", {}, 5_245_442),
    ("resnet50", "dcn", {}, 871_263),
    ("resnet50", "dcn", {"stages": (4,)}, 373_329),
    ("resnet50", "dcn", {"stages": (4,), "modulated": False}, 248_886),
    *[("resnet" + k, "dyconv", {}, n) for k, n in (("18", 33_246_976), ("34", 63_837_312), ("50", 34_273_792))],
    *[("resnet" + k, "eca", {}, n) for k, n in (("18", 36), ("34", 74), ("50", 86), ("101", 171))],
    *[("resnet" + k, "eca", {}, n) for k, n in (("20", 27), ("32", 45), ("56", 81), ("110", 162))],
    ("mobilenet_v2", "eca", {}, 59),
    ("resnet18", "eca", {"k": (3, 5, 7, 7)}, 44),
    ("resnet50", "eca", {"k": (3, 5, 5, 7)}, 80),
    ("resnet18", "encnet", {"site": "gate", "ncodes": 16}, 1_429_504),
    ("resnet20", "encnet", {"site": "gate", "ncodes": 16}, 39_072),
    ("resnet50", "encnet", {"site": "gate", "ncodes": 16}, 40_526_848),
    ("resnet18", "external", {"stages": (4,), "blocks": (-1,)}, 591_360),  # C = 512
    *[("resnet" + k, "fca", {}, n) for k, n in (("18", 87_040), ("34", 157_184), ("50", 2_514_944))],
    *[("resnet" + k, "fca", {}, n) for k, n in (("101", 4_743_168), ("20", 2_016), ("56", 6_048), ("110", 12_096))],
    *[("resnet" + k, "gct", {}, n) for k, n in (("18", 11_529), ("34", 22_665), ("50", 67_593), ("101", 145_929))],
    *[("resnet" + k, "gct", {}, n) for k, n in (("20", 1_881), ("32", 3_225), ("56", 5_913), ("110", 11_961))],
    ("mobilenet_v2", "gct", {}, 47_337),
    ("resnet50", "ge", {"variant": "theta"}, 5_549_568),
    ("resnet50", "ge", {"variant": "theta-plus"}, 8_080_560),
    ("resnet50", "ge", {"variant": "theta", "extent": 8}, 498_432),
    ("resnet50", "ge", {"variant": "theta-minus"}, 0),
    ("resnet50", "gsop", {}, 2_728_192),
    *[("resnet" + k, "highway", {}, n) for k, n in (("18", 526_208), ("50", 17_332_992))],
    *[("resnet" + k, "highway", {}, n) for k, n in (("20", 13_904), ("110", 96_224))],
    ("resnet50", "psa", {}, 4_899_840 + 2 * 2048 * 2048),  # the module on 7x7 maps, and the 1x1 back to 2048
    ("resnet50", "scconv", {}, 7_552),
    *[("resnet" + k, "se", {}, n) for k, n in (("18", 87_040), ("34", 157_184), ("50", 2_514_944))],
    *[("resnet" + k, "se", {}, n) for k, n in (("101", 4_743_168), ("20", 2_016), ("32", 3_360), ("56", 6_048))],
    *[("resnet" + k, "se", {"bias": True}, n) for k, n in (("18", 89_080), ("34", 161_196), ("50", 2_530_992))],
    *[("resnet" + k, "se", {"bias": True}, n) for k, n in (("101", 4_777_712), ("20", 2_373), ("32", 3_955))],
    *[("resnet" + k, "se", {"bias": True}, n) for k, n in (("56", 7_119), ("110", 14_238))],
    ("resnet110", "se", {}, 12_096),
    ("mobilenet_v2", "se", {"reduction": 8}, 56_928),
    ("resnet18", "se", {"bias": True, "divisor": 8}, 90_112),
    ("resnet50", "self-attention", {}, 2_101_760),
    ("resnet50", "self-attention", {"stages": (2, 3), "blocks": (2, 4, 6)}, 7_358_464),
    ("resnet50", "simam", {}, 0),
    ("resnet18", "sk", {}, 4_907_264),
    ("resnet50", "sk", {}, 11_688_320),
    ("resnet50", "spnet", {}, 6_117_056),
    *[("resnet" + k, "srm", {}, n) for k, n in (("18", 7_680), ("34", 15_104), ("50", 60_416), ("101", 130_048))],
    *[("resnet" + k, "srm", {}, n) for k, n in (("20", 1_344), ("32", 2_240), ("56", 4_032), ("110", 8_064))],
    ("mobilenet_v2", "srm", {}, 6_016),
    ("resnet50", "tam", {"frames": 8}, 1_262_688),
    ("resnet18", "triplet", {}, 2_400),
    ("resnet50", "triplet", {}, 4_800),
    ("resnet50", "triplet", {"kernel_size": 3}, 16 * 60),
]

ADDED += [  # mechanisms beyond the surveys; the plain totals of ResNet-50 are claims, which are counted with them
    *[("resnet18", attn, {}, n) for attn, n in (("sge", 1_024), ("mca", 128), ("nam", 3_840), ("scsa", 30_720))],
    *[("resnet101", attn, {}, n) for attn, n in (("sa", 1_524), ("mca", 567))],
    *[
        ("resnet50", "ela", {"form": f}, n)
        for f, n in (("t", 105_728), ("s", 634_368), ("l", 876_032), ("timm", 271_872))
    ],
    ("resnet50", "ese", {"site": "mid"}, 1_261_248),
]

WHOLE: list[Case] = [
    ("resnet18", "gc", {}, 11_779_454),
    ("resnet18", "gc", {"stages": ALL}, 11_780_760),
    ("resnet50", "gc", {"ratio": 0.25}, 35_557_941),
    ("resnet18", "ema", {}, 11_696_552),
    ("resnet50", "ema", {"factor": 8}, 28_708_264),
    ("resnet50", "a2", {"reduction": 4}, 29_234_216),
    ("resnet50", "polarized", {"form": "s"}, 27_687_984),
    ("resnet50", "polarized", {"site": "gate"}, 65_811_240),
    ("resnet18", "polarized", {}, 13_084_072),
    ("resnet18", "polarized", {"form": "s"}, 12_869_112),
    ("resnet18", "ela", {}, 11_706_792),
    ("resnet18", "ese", {}, 12_387_752),
    ("resnet50", "lka", {"separable": True}, 26_924_008),
    ("resnet50", "lka", {"site": "gate"}, 46_839_592),
    ("resnet18", "lka", {}, 12_533_672),
    ("resnet50", "scsa", {"site": "gate"}, 25_798_696),
    ("resnet18", "criss-cross", {}, 12_017_833),
    ("resnet50", "odconv", {}, 25_823_048),
    ("resnet50", "odconv", {"num_kernels": 4}, 59_776_072),
    ("resnet101", "odconv", {"num_kernels": 4}, 109_071_125),
    ("resnet50", "gam", {}, 528_621_352),
    ("resnet50", "gam", {"groups": 4}, 158_924_584),
    ("resnet50", "gam", {"reduction": 16}, 151_368_424),
    ("resnet18", "gam", {}, 29_107_112),
    ("resnet50", "cpca", {"reduction": 16}, 27_394_836),
    ("resnet18", "cpca", {}, 12_949_512),
    ("resnet50", "aff", {}, 45_789_864),
    ("resnet50", "aff", {"reduction": 16, "form": "iaff"}, 35_809_384),
    ("resnet18", "aff", {}, 12_400_232),
    ("resnet50", "bam", {}, 25_915_099),
    ("mobilenet_v2", "ca", {}, 3_950_648),
    ("resnet50", "cbam", {}, 28_089_624),
    ("resnet18", "cbam", {}, 11_779_392),
    ("resnet18", "dyconv", {}, 44_936_488),
    ("resnet50", "gala", {"reduction": 16}, 29_377_608),
    ("resnet50", "gala", {}, 40_703_352),
    ("resnet50", "ge", {"variant": "theta-plus"}, 33_637_592),
    ("resnet50", "gsop", {}, 28_285_224),
    ("resnet50", "scconv", {}, 25_564_584),
    ("resnet101", "scconv", {}, 44_565_416),
    ("resnet50", "scse", {}, 45_714_360),
    ("resnet50", "scse", {"reduction": 16}, 28_103_144),
    ("resnet50", "se", {}, 28_071_976),
    ("resnet50", "se", {"bias": True}, 28_088_024),
    ("resnet18", "se", {"bias": True, "divisor": 8}, 11_779_624),
    ("resnext50_32x4d", "sk", {}, 27_479_784),
    ("resnet18", "sk", {"split_input": True, "r": 8, "min_hidden": 16}, 11_958_056),
    ("resnet34", "sk", {"split_input": True, "r": 8, "min_hidden": 16}, 22_282_376),
    ("resnet50", "sk", {"split_input": True, "min_hidden": 8}, 25_803_160),
    ("resnet50", "sk", {"min_hidden": 1}, 37_118_080),  # listed as 37.12 M
    ("resnet50", "spnet", {}, 31_674_088),
    ("resnet50", "triplet", {}, 25_561_832),
    ("resnet18", "triplet", {}, 11_691_912),
    ("", "residual-attention", {}, 31_810_728),
    ("", "residual-attention", {"modules": (1, 2, 3)}, 52_466_344),
    *[("", "multi-head-external", {"variant": "eamlp-" + k}, n) for k, n in (("7", 6_096_206), ("14", 29_801_422))],
    *[("", "multi-head-external", {"variant": "eamlp-" + k}, n) for k, n in (("19", 54_470_798), ("24", 89_355_726))],
    ("", "vit", {"variant": "b", "patch_size": 16, "pool": "cls", "qkv_bias": True}, 86_567_656),
    (
        "",
        "vit",
        {"size": 256, "patch_size": 32, "dim": 1024, "depth": 6, "heads": 8, "dim_head": 64, "mlp_dim": 2048},
        42_039_272,
    ),
]


def network(backbone: str, attn: str, given: dict[str, Any]) -> PublishedNetwork:
    """The network of a case; what is no key of a network is an option."""
    keys = {k: v for k, v in given.items() if k in ("stages", "blocks", "site", "frames", "size")}
    options = tuple((k, v) for k, v in given.items() if k not in keys)
    classes = CLASSES.get(backbone, 1000)
    size = 32 if backbone in CLASSES else 224
    return PublishedNetwork(
        **{"backbone": backbone, "attn": attn, "classes": classes, "size": size, "options": options} | keys
    )


def name(case: Any) -> str | None:
    """The parts of a test's name."""
    return str(case) if not isinstance(case, dict) else ",".join(f"{k}={v}" for k, v in case.items()) or "default"


@pytest.mark.parametrize(("backbone", "attn", "given", "expected"), ADDED, ids=name)
def test_added(backbone: str, attn: str, given: dict[str, Any], expected: int) -> None:
    """The mechanism adds exactly the stated number of parameters to the plain network."""
    plain = network(backbone, "none", {k: v for k, v in given.items() if k == "frames"})
    assert count_parameters(network(backbone, attn, given)) - count_parameters(plain) == expected


@pytest.mark.parametrize(("backbone", "attn", "given", "expected"), WHOLE, ids=name)
def test_whole(backbone: str, attn: str, given: dict[str, Any], expected: int) -> None:
    """The network with the mechanism has exactly the stated number of parameters."""
    assert count_parameters(network(backbone, attn, given)) == expected


@pytest.mark.parametrize(("g", "k", "expected"), [(8, 1, 242_317), (12, 3, 289_421), (12, 4, 307_853)])
def test_ram_on_grey_images(g: int, k: int, expected: int) -> None:
    """RAM with k glimpses of g x g pixels of one colour plane and ten classes."""
    net = ram.Attention(10, (60, 60), 1, patch_size=g, num_patches=k)
    assert sum(p.numel() for p in net.parameters()) == expected
