"""A finished run's folder out of nothing: random weights in its checkpoint, digits as its images."""

import json
import zlib
from pathlib import Path

import torch
from safetensors.torch import save_file

from attncli import model
from attncli.model import InputSpec
from attncli.recipe import Recipe, read
from attncli.trained import TrainedNetwork
from tests.attention.case import randomise
from tests.claims.case import run


def trained_run(runs: Path, attn: str = "eca", seed: int = 0, **keys: object) -> tuple[Path, Recipe]:
    """The folder and recipe of a run of resnet20 on the digits."""
    recipe = run(runs, attn=attn, seed=seed, top1=0.5, data_digest="", **keys)
    folder = runs / recipe.compute_digest()
    net = randomise(model.build(recipe, InputSpec(10, (8, 8))))
    (folder / "checkpoint").mkdir()
    tensors = {f"model/{name}": tensor for name, tensor in net.state_dict().items()}
    file = folder / "checkpoint" / "tensors-a.safetensors"
    save_file(tensors | {"losses": torch.zeros(1)}, file)
    head = {"tensors": file.name, "crc32": zlib.crc32(file.read_bytes())}
    (folder / "checkpoint" / "state.json").write_text(json.dumps(head))
    return folder, recipe


def trained_network() -> TrainedNetwork:
    """A network of plain resnet20 for ten classes of images of 8 px, with random weights."""
    recipe = read(values={"model.attn": "none", "model.backbone": "resnet20"})
    net = randomise(model.build(recipe, InputSpec(10, (8, 8)))).eval()
    return TrainedNetwork(Path("nowhere"), recipe, None, net, tuple("0123456789"), (8, 8), None, (0.5,) * 3, (0.2,) * 3)
