"""Finished runs out of nothing: folders as a run leaves them, with the accuracies that a test wants."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from attncli import records, validation
from attncli.records import Result
from attncli.system.code_reference import label_mechanism_name
from attncli.system.files import write_atomically


def run(
    folder: Path,
    *,
    attn: str,
    seed: int,
    top1: float,
    top5: float | None = 0.99,
    data_digest: str = "d" * 64,
    planned: int | None = None,
    **keys,
):
    """A finished run below `folder`; `keys` are recipe keys, dots written as two underscores."""
    values = {key.replace("__", "."): value for key, value in keys.items()}
    recipe = validation.read(values={"model.backbone": "resnet20", "model.attn": attn, "seed": seed} | values)
    place = folder / recipe.compute_digest()
    place.mkdir(parents=True)
    result = Result(
        digest=recipe.compute_digest(), run_id=f"id-{attn}-{seed}", status="FINISHED",
        attn=label_mechanism_name(attn), category="",
        backbone=recipe.model.backbone, dataset=recipe.data.name, seed=seed, epochs=recipe.train.epochs,
        test_top1=top1, test_top5=top5, test_loss=1.0, val_top1=top1, best_val_top1=top1, baseline="resnet20",
        params=1, baseline_params=1, macs=1, baseline_macs=1, train_images_per_s=None, infer_images_per_s=None,
        train_ratio=None, infer_ratio=None, seconds=1.0, precision="fp32", device="cpu", machine={},
        group=recipe.compute_group(), data_digest=data_digest, folder=str(place),
        planned_seeds=planned,
    )  # fmt: skip
    (place / "recipe.yaml").write_text(recipe.to_yaml())
    write_atomically(place / records.RESULT, json.dumps(asdict(result)))
    return recipe


def pairs(folder: Path, attn: str, variant: Sequence[float], plain: Sequence[float], **keys) -> None:
    """Runs of a mechanism and of the plain network, one for each seed, as many as were planned."""
    for name, accuracies in ((attn, variant), ("none", plain)):
        for seed, top1 in enumerate(accuracies):
            run(folder, attn=name, seed=seed, top1=top1, planned=len(accuracies), **keys)


def claims_file(folder: Path, *checks: str, name: str = "eca", **keys) -> Path:
    """A file of claims c0, c1, ... with these checks; `keys` are the same for each."""
    lines = []
    for i, check_ in enumerate(checks):
        lines += [f"- id: c{i}", "  kind: accuracy", "  text: it is so", "  source: a paper", f"  check: '{check_}'"]
        lines += [f"  {key}: {value}" for key, value in keys.items()]
    path = folder / f"{name}.yaml"
    path.write_text("\n".join(lines) + "\n")
    return path
