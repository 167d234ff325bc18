"""A network that gives no finite numbers for a few images: they are wrong, and everything tells of them."""

import json
from pathlib import Path

from attncli import records
from attncli.track.metrics import collect_run_metrics
from attncli.track.predictions import read_predictions
from tests.commands import plugins
from tests.commands.line import TINY, line, run_folders

OVERFLOW = "x if self.training else x * torch.where(torch.arange(len(x)) == 0, torch.inf, 1.0).view(-1, 1, 1, 1)"
BATCHES = 2  # of the evaluation of 382 images; the first image of each batch overflows


def test_a_run_with_images_that_overflow(tmp_path: Path) -> None:
    """The run is finished, and run, eval, compare and the check of results say how many images it was."""
    mechanism = plugins.write(tmp_path / "mine.py", OVERFLOW)
    done = line("run", "--attn", mechanism, *TINY, "--set", "data.val_fraction=0.2")
    assert done.code == 0, done.err
    assert f"the loss of {BATCHES} test images is no finite number" in done.err
    assert "the loss of 1 validation image is no finite number" in done.err
    assert f"the loss of {BATCHES} test images is no finite number" in done.out
    (folder,) = run_folders()
    result = json.loads((folder / "result.json").read_text())
    assert result["test_nonfinite"] == BATCHES
    assert result["test_images"] == 382
    assert (folder / "confusion.png").exists()
    metrics = {point.key: point.value for point in collect_run_metrics(records.read(folder), 0)}
    assert (metrics["val/nonfinite"], metrics["test/nonfinite"]) == (1, BATCHES)
    predictions = read_predictions(folder)
    assert predictions is not None
    assert (predictions.predicted == 10).sum() == BATCHES
    assert predictions.mark_correct().sum() == result["test_correct"]
    assert f"the loss of {BATCHES} test images of seed 0 is no finite number" in line("compare").out
    assert f"the loss of {BATCHES} images of test is no finite number" in line("eval", folder.name).err
    assert line("results", "export", "mine.results").code == 0
    assert line("results", "verify", "mine.results", "--json").json()["problems"] == []
