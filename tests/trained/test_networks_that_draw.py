"""A network that draws random numbers to classify an image (ram) is exported, and classifies a file always alike."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from attncli.errors import UserError
from attncli.trained import ImageClassifier, load_trained_network
from attncli.trained.export import export_network, load_exported
from attncli.trained.network import TrainedNetwork
from attncli.trained.predict import predict_files
from tests.trained.case import trained_run


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> TrainedNetwork:
    """The network of a run of ram with its default options."""
    return load_trained_network(trained_run(tmp_path_factory.mktemp("project") / "runs", attn="ram")[0])


def test_its_export_is_checked_with_the_same_numbers(trained: TrainedNetwork, tmp_path: Path) -> None:
    """Written, and equal to the run's network; the random numbers of the caller go on as if nothing had been drawn."""
    file, images = tmp_path / "ram.safetensors", torch.rand(3, 3, 8, 8)
    torch.manual_seed(1)
    expected = ImageClassifier(trained)(images)
    torch.manual_seed(1)
    assert export_network(trained, "safetensors", file)["largest_difference"] < 1e-3
    assert torch.equal(ImageClassifier(trained)(images), expected)
    torch.manual_seed(1)
    assert torch.allclose(ImageClassifier(load_exported(file))(images), expected, atol=1e-4)


def test_onnx_would_draw_other_numbers(
    trained: TrainedNetwork, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So it is refused, in place of a file that seems to be wrong."""
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name)
    with pytest.raises(UserError, match="draws random numbers"):
        export_network(trained, "onnx", tmp_path / "ram.onnx")
    assert list(tmp_path.iterdir()) == []


def test_a_file_is_classified_the_same_in_every_call(trained: TrainedNetwork, tmp_path: Path) -> None:
    """Whatever was drawn before, and without a change to what is drawn after."""
    pixels = np.random.default_rng(0).integers(256, size=(8, 8, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    torch.manual_seed(1)
    (first,) = predict_files(trained, [tmp_path / "a.png"], top=10)
    drawn = torch.rand(4)
    (second,) = predict_files(trained, [tmp_path / "a.png"], top=10)
    assert first == second
    torch.manual_seed(1)
    assert torch.equal(torch.rand(4), drawn)
