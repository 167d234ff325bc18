"""Finished runs in memory, with the accuracies and costs that a test wants."""

from collections.abc import Sequence
from typing import Any

from attncli.recipe import Recipe, set_dotted_key
from attncli.records import Result
from attncli.runs import FinishedRun

BASELINE = 1000  # parameters and multiply-accumulates of the plain network


def finished(
    attn: str = "none", seed: int = 0, top1: float | None = 0.9, *, data: str = "d" * 64, **keys: Any
) -> FinishedRun:
    """Return a finished run of resnet18 on digits.

    `keys` are recipe keys, two underscores for each dot; a key without them is a field of the result.
    """
    fields = {name: keys.pop(name) for name in [*keys] if "__" not in name}
    values = {"model.backbone": "resnet18", "model.attn": attn, "seed": seed, "train.epochs": 12}
    tree: dict[str, Any] = {}
    for key, value in (values | {name.replace("__", "."): value for name, value in keys.items()}).items():
        set_dotted_key(tree, key, value)
    recipe = Recipe.model_validate(tree)
    result: dict[str, Any] = {
        "digest": recipe.compute_digest(), "run_id": f"{attn}{seed}", "status": "FINISHED", "attn": attn,
        "backbone": "resnet18", "dataset": "digits", "category": "channel", "seed": seed, "epochs": 12,
        "test_top1": top1, "test_top5": None, "test_loss": None, "val_top1": None, "best_val_top1": None,
        "baseline": "resnet18", "params": None, "baseline_params": BASELINE, "macs": None, "baseline_macs": BASELINE,
        "train_images_per_s": None, "infer_images_per_s": None, "train_ratio": None, "infer_ratio": None,
        "seconds": 1.0, "precision": "fp32", "device": "cpu", "machine": {"torch": "2.14.1"},
        "group": recipe.compute_group(),
        "data_digest": data, "folder": "",
    }  # fmt: skip
    return FinishedRun(
        recipe=recipe, result=Result(**result | fields), dataset="digits", experiment="digits-resnet18", folder=None
    )


def finished_pairs(attn: str, variant: Sequence[float], plain: Sequence[float]) -> list[FinishedRun]:
    """Return runs of a variant and of the plain network, one per seed."""
    return [finished(attn, s, t) for s, t in enumerate(variant)] + [finished("none", s, t) for s, t in enumerate(plain)]
