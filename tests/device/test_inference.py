"""Trained networks on a simulated GPU: what `look` observes, and what `predict` classifies."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from attncli import model
from attncli.data import loader
from attncli.interpret import LoadedRun, analyze
from attncli.run.naming import make_input_spec
from attncli.train.random_state import kept_random_state
from attncli.trained.predict import predict_files
from tests.device.record_steps import make_dataset, make_recipe, shorten
from tests.device.simulated_device import simulated_device
from tests.trained.case import trained_network


class OneStreamSender:
    """Sends batches on the only stream of the simulated device."""

    def __init__(self, device: torch.device) -> None:
        self.device = device

    def allocate(self, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
        """Return pinned memory."""
        return torch.empty(tuple(shape), dtype=dtype, pin_memory=True)

    def send(self, batch: Tensor) -> Tensor:
        """Copy it."""
        return batch.to(self.device, non_blocking=True)

    def receive(self, sent: Tensor) -> Tensor:
        """Return the copy."""
        return sent


@pytest.mark.parametrize("attn", ["eca", "dcn", "ram", "criss-cross", "stn"])
def test_a_mechanism_is_observed_on_the_device(attn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A gate, offsets, a drawn path, an affinity, a warp: no tensor is on the other side, all values come.

    Of Grad-CAM only its result is made up, as there is no backward pass here.
    """
    monkeypatch.setattr(loader, "SideStreamSender", OneStreamSender)
    monkeypatch.setattr(analyze, "compute_gradcam", lambda net, x, classes: x[:, 0])
    recipe = make_recipe(attn)
    dataset = make_dataset(recipe)
    net = shorten(model.build(recipe, make_input_spec(dataset)))
    with simulated_device() as (mode, accelerator):
        loaded_run = LoadedRun(Path("nowhere"), recipe, dataset, net.to(accelerator.device).eval())
        analysis = analyze.analyze_attention(loaded_run, images=2, sample=4)
    distributions = analysis.distributions
    assert mode.ledger.mixed == mode.ledger.doubles == {}
    assert sum(mode.ledger.launches.values()) > 20
    assert distributions
    assert [image.views != [] for image in analysis.images] == [True, True]
    assert all(d.values.shape[0] == 4 and np.isfinite(d.values).all() for d in distributions)


def test_files_are_classified_on_the_device(tmp_path: Path) -> None:
    """The images go there from pinned memory, and only the probabilities come back."""
    Image.new("RGB", (9, 12), "red").save(tmp_path / "red.png")
    with simulated_device() as (mode, accelerator):
        (prediction,) = predict_files(trained_network(), [tmp_path / "red.png"], 3, accelerator.device)
    assert len(prediction.classes) == 3
    assert mode.ledger.mixed == {}
    assert sum(mode.ledger.waits.values()) == 1
    assert [copy.split(" at ")[0] for copy in mode.ledger.copies if "crop_flip" in copy] == ["pinned asynchronous"]


def test_state_of_random_numbers_is_kept() -> None:
    """What is drawn in the block does not change what is drawn after it, on the CPU and on the device."""
    torch.manual_seed(1)
    expected = torch.rand(2)
    torch.manual_seed(1)
    with simulated_device() as (_, accelerator), kept_random_state(accelerator.device):
        torch.rand(5)
        (generator,) = torch.cuda.default_generators
    assert torch.equal(torch.rand(2), expected)
    generator.set_state.assert_called_once_with(generator.get_state.return_value)
