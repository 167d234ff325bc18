"""The error of a difference that comes from the choice of test images, from the predictions of every image.

The seeds tell how the difference varies from training to training on these test images. Other images of the same kind
would give another difference, however many seeds there are. Both errors come from the table of image i and seed s with
the entries d[i, s] = correct(variant) - correct(baseline), which is -1, 0 or 1.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True, kw_only=True)
class DisagreementTest:
    """McNemar's test of two trained networks on the same images.

    `won` images are right with the variant only, `lost` ones with the baseline only; `p` is the exact two-sided p value
    of such numbers if either kind were as likely. It speaks of these two networks, not of the mechanism.
    """

    won: int
    lost: int
    images: int
    p: float


def compare_disagreements(variant: "np.ndarray", baseline: "np.ndarray") -> DisagreementTest:
    """Return McNemar's exact test; the arguments say for each image whether it was classified correctly, (N,) bool."""
    from scipy import special

    won, lost = int((variant & ~baseline).sum()), int((~variant & baseline).sum())
    p = min(1.0, 2 * float(special.bdtr(min(won, lost), won + lost, 0.5))) if won + lost else 1.0
    return DisagreementTest(won=won, lost=lost, images=len(variant), p=p)


def estimate_image_error(variant: Sequence["np.ndarray"], baseline: Sequence["np.ndarray"]) -> float | None:
    """Return the standard error of the mean difference by the choice of test images.

    It is that of the two-way random effects model d[i, s] = mean + image_i + seed_s + rest (analysis of variance):
    the variance of the image effects, without what chance in training adds to their means, divided by the number of
    images. Pairs by seed; each entry says for each image whether it was classified correctly, (N,) bool.

    Returns None for fewer than two seeds, with which image effects and chance in training cannot be told apart.
    """
    import numpy as np

    if len(variant) < 2:
        return None
    table = np.stack([a.astype(np.float64) - b for a, b in zip(variant, baseline, strict=True)], axis=1)
    images, seeds = table.shape
    image_means, seed_means = table.mean(axis=1), table.mean(axis=0)
    rest = table - image_means[:, None] - seed_means + table.mean()
    rest_mean_square = (rest**2).sum() / ((images - 1) * (seeds - 1))
    image_mean_square = seeds * image_means.var(ddof=1)
    return float(np.sqrt(max(0.0, image_mean_square - rest_mean_square) / seeds / images))
