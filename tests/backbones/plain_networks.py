"""Networks as people write them, without classes for their blocks; test_plain_networks.py reads this file."""

# They stay as people write them: without docstrings of methods, without strict=, without types.
# ruff: noqa: D102, D103, B905
# mypy: ignore-errors
from collections import OrderedDict

import torch
import torch.nn.functional as F
from torch import nn


class Vgg(nn.Module):
    """Made from a list of widths."""

    def __init__(self, num_classes=10):
        super().__init__()
        layers, channels = [], 3
        for width in [8, "M", 16, 16, "M"]:
            if width == "M":
                layers += [nn.MaxPool2d(2, 2)]
            else:
                layers += [nn.Conv2d(channels, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
                channels = width
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Linear(16, num_classes)

    def forward(self, x):
        return self.classifier(self.features(x).mean((2, 3)))


class LeNet(nn.Module):
    """Convolutions with functional activations and one shared pool."""

    def __init__(self, num_classes=10):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 6, 5)
        self.pool = nn.MaxPool2d(2, 2)
        self.conv2 = nn.Conv2d(6, 16, 5)
        self.fc1 = nn.Linear(16 * 5 * 5, 120)
        self.fc2 = nn.Linear(120, num_classes)

    def forward(self, x):
        x = self.pool(F.relu(self.conv1(x)))
        x = self.pool(F.relu(self.conv2(x)))
        return self.fc2(F.relu(self.fc1(torch.flatten(x, 1))))


def conv_block(i, o, pool=False):
    layers = [nn.Conv2d(i, o, 3, padding=1), nn.BatchNorm2d(o), nn.ReLU(inplace=True)]
    if pool:
        layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers)


class ConvBlocks(nn.Module):
    """Blocks come from a helper function."""

    def __init__(self, num_classes=10):
        super().__init__()
        self.net = nn.Sequential(conv_block(3, 8, True), conv_block(8, 16, True), conv_block(16, 16))
        self.fc = nn.Linear(16, num_classes)

    def forward(self, x):
        return self.fc(F.adaptive_avg_pool2d(self.net(x), 1).flatten(1))


class Layers(nn.Module):
    """Two convolutions in each Sequential."""

    def __init__(self, num_classes=10):
        super().__init__()

        def layer(i, o):
            return nn.Sequential(
                nn.Conv2d(i, o, 3, padding=1),
                nn.BatchNorm2d(o),
                nn.ReLU(),
                nn.Conv2d(o, o, 3, padding=1),
                nn.BatchNorm2d(o),
                nn.ReLU(),
                nn.MaxPool2d(2),
            )

        self.layer1, self.layer2 = layer(3, 8), layer(8, 16)
        self.fc = nn.Linear(16, num_classes)

    def forward(self, x):
        return self.fc(self.layer2(self.layer1(x)).mean((2, 3)))


class VggStages(nn.Module):
    """One Sequential per stage."""

    def __init__(self, num_classes=10):
        super().__init__()

        def stage(n, i, o):
            layers = []
            for _ in range(n):
                layers += [nn.Conv2d(i, o, 3, padding=1), nn.BatchNorm2d(o), nn.ReLU()]
                i = o
            return nn.Sequential(*layers, nn.MaxPool2d(2))

        self.block1, self.block2, self.block3, self.block4 = (
            stage(1, 3, 8),
            stage(1, 8, 8),
            stage(2, 8, 16),
            stage(2, 16, 16),
        )
        self.fc = nn.Linear(16, num_classes)

    def forward(self, x):
        return self.fc(self.block4(self.block3(self.block2(self.block1(x)))).mean((2, 3)))


class ResNet9(nn.Module):
    """Residual sums in forward."""

    def __init__(self, num_classes=10):
        super().__init__()
        self.conv1 = conv_block(3, 8)
        self.conv2 = conv_block(8, 16, pool=True)
        self.res1 = nn.Sequential(conv_block(16, 16), conv_block(16, 16))
        self.conv3 = conv_block(16, 32, pool=True)
        self.conv4 = conv_block(32, 32, pool=True)
        self.res2 = nn.Sequential(conv_block(32, 32), conv_block(32, 32))
        self.classifier = nn.Sequential(
            nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Dropout(0.2), nn.Linear(32, num_classes)
        )

    def forward(self, xb):
        out = self.conv1(xb)
        out = self.conv2(out)
        out = self.res1(out) + out
        out = self.conv3(out)
        out = self.conv4(out)
        out = self.res2(out) + out
        return self.classifier(out)


class ResidualList(nn.Module):
    """Branches and shortcuts in lists of modules."""

    def __init__(self, num_classes=10):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.blocks = nn.ModuleList()
        self.skips = nn.ModuleList()
        for i, o, s in ((8, 8, 1), (8, 16, 2), (16, 16, 1)):
            self.blocks.append(
                nn.Sequential(
                    nn.Conv2d(i, o, 3, s, 1, bias=False),
                    nn.BatchNorm2d(o),
                    nn.ReLU(True),
                    nn.Conv2d(o, o, 3, 1, 1, bias=False),
                    nn.BatchNorm2d(o),
                )
            )
            self.skips.append(nn.Identity() if s == 1 else nn.Sequential(nn.Conv2d(i, o, 1, s), nn.BatchNorm2d(o)))
        self.fc = nn.Linear(16, num_classes)

    def forward(self, x):
        x = self.stem(x)
        for block, skip in zip(self.blocks, self.skips):
            x = F.relu(block(x) + skip(x))
        return self.fc(x.mean((2, 3)))


class Named(nn.Module):
    """A Sequential with names."""

    def __init__(self, num_classes=10):
        super().__init__()
        self.features = nn.Sequential(
            OrderedDict(
                [
                    ("conv1", nn.Conv2d(3, 8, 3, padding=1)),
                    ("norm1", nn.BatchNorm2d(8)),
                    ("act1", nn.GELU()),
                    ("pool1", nn.MaxPool2d(2)),
                    ("conv2", nn.Conv2d(8, 16, 3, padding=1)),
                    ("norm2", nn.BatchNorm2d(16)),
                    ("act2", nn.GELU()),
                    ("pool2", nn.AdaptiveAvgPool2d(1)),
                ]
            )
        )
        self.fc = nn.Linear(16, num_classes)

    def forward(self, x):
        return self.fc(self.features(x).flatten(1))


class Listed(nn.Module):
    """Convolutions and norms in lists of modules, one shared activation."""

    def __init__(self, num_classes=10, widths=(8, 16, 16)):
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv2d(i, o, 3, padding=1) for i, o in zip((3, *widths), widths))
        self.norms = nn.ModuleList(nn.BatchNorm2d(o) for o in widths)
        self.relu = nn.ReLU()
        self.fc = nn.Linear(widths[-1], num_classes)

    def forward(self, x):
        for conv, norm in zip(self.convs, self.norms):
            x = F.max_pool2d(self.relu(norm(conv(x))), 2)
        return self.fc(x.mean((2, 3)))


def conv_dw(i, o, s):
    return nn.Sequential(
        nn.Conv2d(i, i, 3, s, 1, groups=i, bias=False),
        nn.BatchNorm2d(i),
        nn.ReLU(True),
        nn.Conv2d(i, o, 1, bias=False),
        nn.BatchNorm2d(o),
        nn.ReLU(True),
    )


class MobileNet(nn.Module):
    """A Sequential of separable convolutions, with a stem."""

    def __init__(self, n_class=10):
        super().__init__()
        self.model = nn.Sequential(
            conv_block(3, 8), conv_dw(8, 16, 1), conv_dw(16, 16, 2), conv_dw(16, 16, 1), nn.AvgPool2d(16)
        )
        self.fc = nn.Linear(16, n_class)

    def forward(self, x):
        return self.fc(self.model(x).view(-1, 16))


class ConvBN(nn.Module):
    """A convolution, its norm and activation."""

    def __init__(self, i, o, s=1):
        super().__init__()
        self.conv = nn.Conv2d(i, o, 3, s, 1, bias=False)
        self.bn = nn.BatchNorm2d(o)
        self.act = nn.SiLU(inplace=True)

    def forward(self, x):
        return self.act(self.bn(self.conv(x)))


class Units(nn.Module):
    """A convolution with its norm is a class."""

    def __init__(self, num_classes=10):
        super().__init__()
        self.stages = nn.ModuleList([nn.Sequential(ConvBN(3, 8), ConvBN(8, 8)), nn.Sequential(ConvBN(8, 16, 2))])
        self.fc = nn.Linear(16, num_classes)

    def forward(self, x):
        for s in self.stages:
            x = s(x)
        return self.fc(x.mean((2, 3)))


def make_sequential(num_classes=10):
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(8, 8, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Dropout(0.25),
        nn.Conv2d(8, 16, 3, padding=1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(16, num_classes),
    )


class Unclear(nn.Module):
    """One Sequential that does not repeat."""

    def __init__(self, num_classes=10):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, 2, 1)
        self.body = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1), nn.ReLU())
        self.fc = nn.Linear(8, num_classes)

    def forward(self, x):
        return self.fc(self.body(self.stem(x)).mean((2, 3)))


class Encoder(nn.Module):
    """The whole network but its classifier, in one class."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 3, padding=1)
        self.bn1 = nn.BatchNorm2d(8)
        self.conv2 = nn.Conv2d(8, 16, 3, padding=1)
        self.bn2 = nn.BatchNorm2d(16)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(x))), 2)
        return F.relu(self.bn2(self.conv2(x)))


class Classifier(nn.Module):
    """An encoder and a linear layer."""

    def __init__(self, num_classes=10):
        super().__init__()
        self.encoder = Encoder()
        self.fc = nn.Linear(16, num_classes)

    def forward(self, x):
        return self.fc(self.encoder(x).mean((2, 3)))


def make_classifier(pretrained=False, **kwargs):
    return Classifier(**kwargs)
