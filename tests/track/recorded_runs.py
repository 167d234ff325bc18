"""Recipes, records and folders of runs, made for the tests of tracking."""

from pathlib import Path

from attncli import recipe as recipes
from attncli import records
from attncli.recipe import Recipe
from attncli.records import Cost, Epoch, Evaluation, Record, Speed
from attncli.system.files import write_atomically
from attncli.track import DatasetInfo

FACTS = DatasetInfo(
    name="digits", digest="0123456789abcdef" * 4, source="scikit-learn", classes=("0", "1"), size=(8, 8),
    train=1000, val=100, test=300,
)  # fmt: skip


def recipe(attn="eca", seed=0, **values) -> Recipe:
    """A recipe with `values` by dotted key, dots written as two underscores."""
    flat = {"model.attn": attn, "seed": seed} | {key.replace("__", "."): value for key, value in values.items()}
    return recipes.read(values=flat)


def epoch(number: int, top1=0.5) -> Epoch:
    """The record of an epoch of two seconds."""
    return Epoch(
        epoch=number, train_loss=1 / number, lr=0.1, train_images_per_s=500.0, train_seconds=2.0,
        val_loss=0.5, val_top1=top1, val_top5=0.9,
    )  # fmt: skip


def evaluation(top1=0.75) -> Evaluation:
    """The record of the test set: four images of two classes."""
    return Evaluation(
        split="test", images=4, loss=0.25, top1=top1, top5=1.0, images_per_s=900.0, confusion=[[2, 0], [1, 1]]
    )


def cost() -> Cost:
    """A cost with an overhead of a tenth of the parameters and nothing else."""
    return Cost(
        params=110, baseline_params=100, macs=50, baseline_macs=50, elementwise=8, baseline_elementwise=8,
        activation_bytes=64, baseline_activation_bytes=0, image_size=8,
    )  # fmt: skip


def speed() -> Speed:
    """A throughput of nine tenths of the baseline's."""
    return Speed(
        train_images_per_s=90.0, infer_images_per_s=180.0, baseline_train_images_per_s=100.0,
        baseline_infer_images_per_s=200.0, train_ratio=0.9, train_ratio_low=0.88, train_ratio_high=0.92,
        infer_ratio=0.9, infer_ratio_low=0.89, infer_ratio_high=0.91, batch_size=8, repeats=7, precision="fp32",
        device="cpu", threads=1,
    )  # fmt: skip


WHOLE: list[Record] = [cost(), epoch(1), epoch(2), evaluation(), speed()]


def folder(runs: Path, of: Recipe) -> Path:
    """runs/<digest>/ with its recipe.yaml."""
    path = runs / of.compute_digest()
    path.mkdir(parents=True, exist_ok=True)
    write_atomically(path / "recipe.yaml", of.to_yaml())
    return path


def run(tracker, runs: Path, of: Recipe, flow=WHOLE, status="FINISHED") -> str:
    """Record a whole run as `attncli run` does; returns its MLflow id."""
    path = folder(runs, of)
    live = tracker.start_run(of, FACTS, {"cpu": "test"}, folder=path)
    for record in flow:
        records.append_record(path, record)
        live.log_record(record)
    assert live.end_run(status) is None
    return live.run_id


def doubled(client, run_id: str) -> list[str]:
    """The metrics of a run that hold a step twice."""
    found = []
    for key in client.get_run(run_id).data.metrics:
        steps = [m.step for m in client.get_metric_history(run_id, key)]
        if len(steps) != len(set(steps)):
            found.append(key)
    return found
