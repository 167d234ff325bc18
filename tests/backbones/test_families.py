"""The backbones are the published networks."""

import pytest
import torch
import torchvision.models

from attncli import backbones
from attncli.backbones.surgery import trace_shapes

# torchvision's documentation; He et al. (2016) give 0.27, 0.46, 0.66, 0.85 and 1.7 M for CIFAR, Zagoruyko and Komodakis
# 11.0, 23.4 and 36.5 M; imgclsmob counts 272,282, 855,578, 1,730,522 and 36,479,194, and 11,687,848 for 1000 classes.
TOTALS = {
    ("resnet18", 1000): 11_689_512,
    ("resnet34", 1000): 21_797_672,
    ("resnet50", 1000): 25_557_032,
    ("resnet101", 1000): 44_549_160,
    ("resnet152", 1000): 60_192_808,
    ("resnext50_32x4d", 1000): 25_028_904,
    ("resnext101_32x8d", 1000): 88_791_336,
    ("wide_resnet50_2", 1000): 68_883_240,
    ("mobilenet_v2", 1000): 3_504_872,
    ("mobilenet_v3_small", 1000): 2_542_856,
    ("mobilenet_v3_large", 1000): 5_483_032,
    ("efficientnet_b0", 1000): 5_288_548,
    ("efficientnet_b1", 1000): 7_794_184,
    ("mnasnet1_0", 1000): 4_383_312,
    ("shufflenet_v2_x1_0", 1000): 2_278_604,
    ("regnet_y_400mf", 1000): 4_344_144,
    ("densenet121", 1000): 7_978_856,
    ("convnext_tiny", 1000): 28_589_128,
    ("vgg16_bn", 1000): 138_365_992,
    ("preactresnet18", 1000): 11_687_848,
    ("preactresnet20", 10): 272_282,
    ("preactresnet56", 10): 855_578,
    ("preactresnet110", 10): 1_730_522,
    ("wide_resnet16_8", 10): 10_961_370,
    ("wide_resnet28_8", 10): 23_354_842,
    ("wide_resnet28_10", 10): 36_479_194,
    ("resnet20", 10): 269_722,
    ("resnet32", 10): 464_154,
    ("resnet44", 10): 658_586,
    ("resnet56", 10): 853_018,
    ("resnet110", 10): 1_727_962,
}


def test_every_backbone_has_a_published_total() -> None:
    """No backbone is left out of the table above."""
    assert {name for name, _ in TOTALS} == set(backbones.backbone_names())


@pytest.mark.parametrize(("name", "classes"), TOTALS, ids=lambda v: str(v))
def test_parameters(name: str, classes: int) -> None:
    """The network has exactly the published number of parameters."""
    with torch.device("meta"):
        net = backbones.load(name).build(name, classes, cifar_stem=False)
    assert sum(p.numel() for p in net.parameters()) == TOTALS[name, classes]


@pytest.mark.parametrize(
    ("name", "total"),
    [("resnet18", 11_173_962), ("preactresnet18", 11_172_170), ("vgg16_bn", 14_728_266)],
)
def test_parameters_for_small_images(name: str, total: int) -> None:
    """For ten classes of 32 px these have the 11.17, 11.17 and 14.73 M that CIFAR's tables print."""
    with torch.device("meta"):
        net = backbones.load(name).build(name, 10, cifar_stem=True)
    assert sum(p.numel() for p in net.parameters()) == total


# The first network of each family for ImageNet's classes.
IMAGENET = list({backbones.find_family(n): n for n, classes in reversed(TOTALS) if classes == 1000}.values())


@pytest.mark.parametrize("name", IMAGENET)
@pytest.mark.parametrize(("cifar", "size"), [(True, 32), (False, 224)])
def test_stages_are_sizes_of_maps(name: str, cifar: bool, size: int) -> None:
    """The last block of a stage ends at a ResNet's size: 56, 28, 14, 7 of 224 px, 32, 16, 8, 4 of 32 px; VGG's own."""
    with torch.device("meta"):
        net = backbones.load(name).build(name, 10, cifar_stem=cifar)
    blocks = backbones.load(name).find_structure(net).blocks
    found = trace_shapes(net, (size, size))
    last = {b.stage: found[b.output_path][1][-1] for b in blocks if b.output_path in found}
    first = size if cifar or name.startswith("vgg") else size // 4
    assert last == {stage: first >> (stage - 1) for stage in last}
    assert sorted(last) == {"vgg16_bn": [1, 2, 3, 4, 5], "shufflenet_v2_x1_0": [2, 3, 4]}.get(name, [1, 2, 3, 4])


@pytest.mark.parametrize("name", [n for n in IMAGENET if not n.startswith("preact")])
def test_tensors_are_torchvisions(name: str) -> None:
    """The ImageNet network has torchvision's tensors, name by name and shape by shape, so that its weights load."""
    with torch.device("meta"):
        ours = backbones.load(name).build(name, 1000, cifar_stem=False).state_dict()
    design = torch.device("cpu" if name.startswith("regnet") else "meta")
    with design:
        theirs = torchvision.models.get_model(name, weights=None).state_dict()
    assert [(k, v.shape) for k, v in ours.items()] == [(k, v.shape) for k, v in theirs.items()]


@pytest.mark.parametrize("name", ["densenet121", "shufflenet_v2_x1_0", "mnasnet1_0", "regnet_y_400mf"])
def test_equals_torchvision(name: str) -> None:
    """Pooling made a module changes nothing: with torchvision's weights the same logits."""
    theirs = torchvision.models.get_model(name, weights=None, num_classes=10).eval()
    ours = backbones.load(name).build(name, 10, cifar_stem=False).eval()
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(ours(x), theirs(x))


def test_cifar_stem_keeps_the_map() -> None:
    """With the CIFAR stem a 32 px image reaches the first stage at 32 px, with the ImageNet stem at 8."""
    sizes = []
    for cifar in (True, False):
        net = backbones.load("resnet18").build("resnet18", 10, cifar_stem=cifar).eval()
        net.layer1.register_forward_pre_hook(lambda _, x: sizes.append(x[0].shape[-1]))
        net(torch.zeros(1, 3, 32, 32))
    assert sizes == [32, 8]


def test_option_a_shortcut_by_hand() -> None:
    """Every second pixel, and zeros on both sides of the old channels."""
    from attncli.backbones.pad_shortcut import PadShortcut

    x = torch.arange(32.0).view(1, 2, 4, 4)
    y = PadShortcut(4, 2)(x)
    assert y.shape == (1, 4, 2, 2)
    assert y[0, 0].abs().sum() == 0
    assert torch.equal(y[0, 1], torch.tensor([[0.0, 2.0], [8.0, 10.0]]))
    assert y[0, 3].abs().sum() == 0
