"""The augmentation settings of a recipe. No torch."""

from dataclasses import dataclass
from typing import Literal

from attncli.recipe import Data


@dataclass(frozen=True)
class AugmentationConfig:
    """What happens to a training image, in this order; every number is drawn for each image separately.

    crop            "pad": shifted by up to `Dataset.pad` pixels; "resized": any part of the whole image, resized
    (flip           `Dataset.flip`)
    policy          "rand": `ops` operations of magnitude `magnitude`; "trivial": one of any magnitude
    erase           share of the images in which a part is erased
    mixup, cutmix   alpha of the Beta distribution; with both, each is used for half of the images
    """

    crop: Literal["pad", "resized"] = "pad"
    scale: float = 0.08
    policy: Literal["none", "rand", "trivial"] = "none"
    ops: int = 2
    magnitude: int = 9
    erase: float = 0.0
    mixup: float = 0.0
    cutmix: float = 0.0

    @property
    def has_mixing(self) -> bool:
        """Whether images are mixed, so that labels become shares of classes."""
        return self.mixup > 0 or self.cutmix > 0


def build_augmentation(data: Data) -> AugmentationConfig:
    """Return the augmentation settings of a recipe."""
    return AugmentationConfig(
        crop=data.crop,
        scale=data.crop_scale,
        policy=data.policy,
        ops=data.policy_ops,
        magnitude=data.policy_magnitude,
        erase=data.erase,
        mixup=data.mixup,
        cutmix=data.cutmix,
    )
