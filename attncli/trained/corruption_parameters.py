"""The parameters of the common corruptions by severity, for images of three sizes.

The authors published a file for each size (hendrycks/robustness, ImageNet-C/create_c): make_cifar_c.py (@ca36008) for
32 px, make_tinyimagenet_c.py (@7a64e6a) for 64 px and make_imagenet_c.py (@e0377d4) for 224 px. All numbers were
compared with them. Most are pixels, so that a corruption is weaker or stronger on images of a size in between.
"""

from dataclasses import dataclass

BySeverity = tuple[tuple[float, ...], ...]  # parameters of each severity
SEVERITIES = (1, 2, 3, 4, 5)
MEDIUM_SIDE, LARGE_SIDE = 64, 128  # px, from here on the parameters of Tiny-ImageNet-C, and those of ImageNet-C


@dataclass(frozen=True)
class ParametersBySize:
    """The parameters of a corruption for small, medium and large images."""

    small: BySeverity  # CIFAR-10-C
    medium: BySeverity  # Tiny-ImageNet-C
    large: BySeverity  # ImageNet-C

    def choose(self, side: int, severity: int) -> tuple[float, ...]:
        """Return the parameters for images of `side` px. Raises KeyError for an unknown severity."""
        by_severity = self.small if side < MEDIUM_SIDE else self.medium if side < LARGE_SIDE else self.large
        return dict(zip(SEVERITIES, by_severity, strict=True))[severity]


def _list_single(*values: float) -> BySeverity:
    """Return the parameters of a corruption that has one, by severity."""
    return tuple((value,) for value in values)


PARAMETERS = {
    "gaussian-noise": ParametersBySize(
        _list_single(0.04, 0.06, 0.08, 0.09, 0.10), _list_single(0.04, 0.08, 0.12, 0.15, 0.18),
        _list_single(0.08, 0.12, 0.18, 0.26, 0.38)),
    "shot-noise": ParametersBySize(
        _list_single(500, 250, 100, 75, 50), _list_single(250, 100, 50, 30, 15), _list_single(60, 25, 12, 5, 3)),
    "impulse-noise": ParametersBySize(
        _list_single(0.01, 0.02, 0.03, 0.05, 0.07), _list_single(0.01, 0.02, 0.05, 0.08, 0.14),
        _list_single(0.03, 0.06, 0.09, 0.17, 0.27)),
    "defocus-blur": ParametersBySize(
        ((0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1, 0.2), (1.5, 0.1)),
        ((0.5, 0.6), (1, 0.1), (1.5, 0.1), (2.5, 0.01), (3, 0.1)),
        ((3, 0.1), (4, 0.5), (6, 0.5), (8, 0.5), (10, 0.5))),
    "glass-blur": ParametersBySize(
        ((0.05, 1, 1), (0.25, 1, 1), (0.4, 1, 1), (0.25, 1, 2), (0.4, 1, 2)),
        ((0.1, 1, 1), (0.5, 1, 1), (0.6, 1, 2), (0.7, 2, 1), (0.9, 2, 2)),
        ((0.7, 1, 2), (0.9, 2, 1), (1, 2, 3), (1.1, 3, 2), (1.5, 4, 2))),
    "motion-blur": ParametersBySize(
        ((6, 1), (6, 1.5), (6, 2), (8, 2), (9, 2.5)),
        ((10, 1), (10, 1.5), (10, 2), (10, 2.5), (12, 3)),
        ((10, 3), (15, 5), (15, 8), (15, 12), (20, 15))),
    "zoom-blur": ParametersBySize(
        ((1.06, 0.01), (1.11, 0.01), (1.16, 0.01), (1.21, 0.01), (1.26, 0.01)),
        ((1.06, 0.01), (1.11, 0.01), (1.16, 0.01), (1.21, 0.01), (1.26, 0.01)),
        ((1.11, 0.01), (1.16, 0.01), (1.21, 0.02), (1.26, 0.02), (1.31, 0.03))),
    "snow": ParametersBySize(
        ((0.1, 0.2, 1, 0.6, 8, 3, 0.95), (0.1, 0.2, 1, 0.5, 10, 4, 0.9), (0.15, 0.3, 1.75, 0.55, 10, 4, 0.9),
         (0.25, 0.3, 2.25, 0.6, 12, 6, 0.85), (0.3, 0.3, 1.25, 0.65, 14, 12, 0.8)),
        ((0.1, 0.2, 1, 0.6, 8, 3, 0.8), (0.1, 0.2, 1, 0.5, 10, 4, 0.8), (0.15, 0.3, 1.75, 0.55, 10, 4, 0.7),
         (0.25, 0.3, 2.25, 0.6, 12, 6, 0.65), (0.3, 0.3, 1.25, 0.65, 14, 12, 0.6)),
        ((0.1, 0.3, 3, 0.5, 10, 4, 0.8), (0.2, 0.3, 2, 0.5, 12, 4, 0.7), (0.55, 0.3, 4, 0.9, 12, 8, 0.7),
         (0.55, 0.3, 4.5, 0.85, 12, 8, 0.65), (0.55, 0.3, 2.5, 0.85, 12, 12, 0.55))),
    "frost": ParametersBySize(
        ((1, 0.2), (1, 0.3), (0.9, 0.4), (0.85, 0.4), (0.75, 0.45)),
        ((1, 0.3), (0.9, 0.4), (0.8, 0.45), (0.75, 0.5), (0.7, 0.55)),
        ((1, 0.4), (0.8, 0.6), (0.7, 0.7), (0.65, 0.7), (0.6, 0.75))),
    "fog": ParametersBySize(
        ((0.2, 3), (0.5, 3), (0.75, 2.5), (1, 2), (1.5, 1.75)),
        ((0.4, 3), (0.7, 3), (1, 2.5), (1.5, 2), (2, 1.75)),
        ((1.5, 2), (2, 2), (2.5, 1.7), (2.5, 1.5), (3, 1.4))),
    "brightness": ParametersBySize(
        _list_single(0.05, 0.1, 0.15, 0.2, 0.3), _list_single(0.1, 0.2, 0.3, 0.4, 0.5),
        _list_single(0.1, 0.2, 0.3, 0.4, 0.5)),
    "contrast": ParametersBySize(
        _list_single(0.75, 0.5, 0.4, 0.3, 0.15), _list_single(0.4, 0.3, 0.2, 0.1, 0.05),
        _list_single(0.4, 0.3, 0.2, 0.1, 0.05)),
    "elastic": ParametersBySize(
        ((0, 0.001, 0.08), (0.05, 0.2, 0.07), (0.08, 0.06, 0.06), (0.1, 0.04, 0.05), (0.1, 0.03, 0.03)),
        ((0, 0.001, 0.08), (0.05, 0.3, 0.06), (0.1, 0.08, 0.06), (0.1, 0.03, 0.03), (0.16, 0.03, 0.02)),
        ((2, 0.7, 0.1), (2, 0.08, 0.2), (0.05, 0.01, 0.02), (0.07, 0.01, 0.02), (0.12, 0.01, 0.02))),
    "pixelate": ParametersBySize(
        _list_single(0.95, 0.9, 0.85, 0.75, 0.65), _list_single(0.9, 0.8, 0.7, 0.6, 0.5),
        _list_single(0.6, 0.5, 0.4, 0.3, 0.25)),
    "jpeg": ParametersBySize(
        _list_single(80, 65, 58, 50, 40), _list_single(65, 58, 50, 40, 25), _list_single(25, 18, 15, 10, 7)),
}  # fmt: skip
