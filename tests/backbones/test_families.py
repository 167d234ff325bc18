"""The backbones are the published networks."""

import pytest
import torch

from attncli import backbones

TOTALS = {  # torchvision's documentation; He et al. (2016) give 0.27, 0.46, 0.66, 0.85 and 1.7 M for CIFAR
    ("resnet18", 1000): 11_689_512,
    ("resnet34", 1000): 21_797_672,
    ("resnet50", 1000): 25_557_032,
    ("resnet101", 1000): 44_549_160,
    ("resnet152", 1000): 60_192_808,
    ("resnext50_32x4d", 1000): 25_028_904,
    ("resnext101_32x8d", 1000): 88_791_336,
    ("wide_resnet50_2", 1000): 68_883_240,
    ("mobilenet_v2", 1000): 3_504_872,
    ("resnet20", 10): 269_722,
    ("resnet32", 10): 464_154,
    ("resnet44", 10): 658_586,
    ("resnet56", 10): 853_018,
    ("resnet110", 10): 1_727_962,
}


def test_every_backbone_has_a_published_total() -> None:
    """No backbone is left out of the table above."""
    assert {name for name, _ in TOTALS} == set(backbones.names())


@pytest.mark.parametrize(("name", "classes"), TOTALS, ids=lambda v: str(v))
def test_parameters(name: str, classes: int) -> None:
    """The network has exactly the published number of parameters."""
    with torch.device("meta"):
        net = backbones.load(name).build(name, classes, cifar_stem=False)
    assert sum(p.numel() for p in net.parameters()) == TOTALS[name, classes]


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
    from attncli.backbones.resnet_cifar import PadShortcut

    x = torch.arange(32.0).view(1, 2, 4, 4)
    y = PadShortcut(4)(x)
    assert y.shape == (1, 4, 2, 2)
    assert y[0, 0].abs().sum() == 0
    assert torch.equal(y[0, 1], torch.tensor([[0.0, 2.0], [8.0, 10.0]]))
    assert y[0, 3].abs().sum() == 0
