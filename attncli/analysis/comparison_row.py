"""What a comparison says of one variant, and the same as plain values for JSON and CSV."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import NormalDist
from typing import Any

from attncli.analysis import stats
from attncli.analysis.image_error import DisagreementTest
from attncli.analysis.simultaneous import SimultaneousEstimate
from attncli.analysis.stats import MeanEstimate
from attncli.runs import FinishedRun


@dataclass(frozen=True, kw_only=True)
class ComparisonRow:
    """One variant over its seeds; accuracies and their differences are fractions, ratios variant over baseline.

    `recipe` names the keys in which the recipes of this table differ. `difference` is the mean difference to the
    baseline over the seeds that both have, or None if there are none. `p` is its p value alone, and `p_holm` is
    corrected for all tests of the table. The verdict rests on `joint`, the estimate together with all other variants
    of the table, at the level `level`; `family` is their number. If there is no difference, the
    verdict says why.

    Of runs of k folds, `seeds`, `failed_seeds` and `missing_seeds` number the pairs: k seed + fold.
    """

    dataset: str
    backbone: str
    variant: str
    attn: str
    category: str
    recipe: str
    seeds: tuple[int, ...]
    accuracy: MeanEstimate
    difference: MeanEstimate | None
    p: float | None
    p_holm: float | None
    verdict: str
    params: float | None
    params_added: float | None
    params_pct: float | None
    macs: float | None
    macs_pct: float | None
    train_ratio: float | None
    infer_ratio: float | None
    train_images_per_s: float | None
    infer_images_per_s: float | None
    group: str
    run_ids: tuple[str, ...]
    joint: SimultaneousEstimate | None = None
    level: float | None = None
    family: int = 0
    planned_seeds: int | None = None
    failed_seeds: tuple[int, ...] = ()
    missing_seeds: tuple[int, ...] = ()
    part: str = ""  # of the dataset, if not all of it was used
    test_images: int | None = None
    image_error: float | None = None  # standard error of the difference by the choice of test images
    disagreement: DisagreementTest | None = None  # of the networks of a single seed
    top5: MeanEstimate | None = None  # None if no run recorded it
    macro_f1: MeanEstimate | None = None  # likewise
    folds: int | None = None  # if the runs are of k folds; intervals and tests are then those of analysis.folds
    train_limit: str | None = None  # on CUDA: whether `host` or `device` limits the speeds behind `train_ratio`
    infer_limit: str | None = None
    epochs: int | None = None  # of the recipe
    precision: str | None = None  # in which it was trained
    image_size: int | None = None  # side of square images in pixels, None if it is not known here
    images: str = ""  # the dataset; for the user's own images the name of their folder
    zeroed_by_card: bool = False  # whether residual branches start at zero if the mechanism's card wants that
    draws_test_images: bool = False  # whether each seed was tested on images of its own
    nonfinite_by_seed: Mapping[int, int] = field(default_factory=dict)  # test images without a finite loss, if any
    runs: tuple[FinishedRun, ...] = ()  # those of `run_ids`, which two runs that MLflow does not have may share

    @property
    def latency_ms(self) -> float | None:
        """Milliseconds per image of inference in the timed batches, or None if it was not timed."""
        return 1000 / self.infer_images_per_s if self.infer_images_per_s else None

    @property
    def reach_with_images(self) -> float | None:
        """Half the interval of the difference if the test images were drawn again too, or None if it is unknown.

        It holds for all variants of the table together, as that of the seeds does: for the images by Bonferroni.
        """
        if self.joint is None or self.joint.high is None or self.image_error is None:
            return None
        quantile = NormalDist().inv_cdf(1 - (self.level or stats.ALPHA) / (2 * self.family))
        reach = math.hypot(self.joint.high - self.joint.mean, quantile * self.image_error)
        return reach if math.isfinite(reach) else None

    def to_json_dict(self) -> dict[str, Any]:
        """Return plain values for JSON and CSV, the two estimates flat; of folds the seeds, each once."""
        nested = (
            "accuracy",
            "difference",
            "seeds",
            "joint",
            "disagreement",
            "top5",
            "macro_f1",
            "zeroed_by_card",
            "draws_test_images",
            "nonfinite_by_seed",
            "runs",
        )
        values = {name: value for name, value in vars(self).items() if name not in nested}
        values |= {name: self._list_seeds(values[name]) for name in ("failed_seeds", "missing_seeds")}
        leading = {name: values.pop(name) for name in ("dataset", "backbone", "variant", "attn", "category", "recipe")}
        return {
            **leading,
            "n": self.accuracy.n,
            "seeds": self._list_seeds(self.seeds),
            "top1": self.accuracy.mean,
            "top1_sd": self.accuracy.sd,
            "top1_low": self.accuracy.low,
            "top1_high": self.accuracy.high,
            "pairs": self.difference.n if self.difference else 0,
            "diff": self.difference.mean if self.difference else None,
            "diff_sd": self.difference.sd if self.difference else None,
            "diff_low": self.difference.low if self.difference else None,
            "diff_high": self.difference.high if self.difference else None,
            **values,
            "p_joint": self.joint.p if self.joint else None,
            "diff_joint_low": self.joint.low if self.joint else None,
            "diff_joint_high": self.joint.high if self.joint else None,
            "diff_reach_with_images": self.reach_with_images,
            "top5": self.top5.mean if self.top5 else None,
            "macro_f1": self.macro_f1.mean if self.macro_f1 else None,
            "macro_f1_sd": self.macro_f1.sd if self.macro_f1 else None,
            "top5_sd": self.top5.sd if self.top5 else None,
            "top5_low": self.top5.low if self.top5 else None,
            "top5_high": self.top5.high if self.top5 else None,
            "latency_ms": self.latency_ms,
            "mcnemar_won": self.disagreement.won if self.disagreement else None,
            "mcnemar_lost": self.disagreement.lost if self.disagreement else None,
            "mcnemar_p": self.disagreement.p if self.disagreement else None,
        }

    def _list_seeds(self, numbers: tuple[int, ...]) -> tuple[int, ...]:
        """Return the seeds of pairs by their numbers, each once; without folds these are the seeds."""
        return numbers if self.folds is None else tuple(dict.fromkeys(number // self.folds for number in numbers))
