"""Files of weights as people have them: what is taken from them and what is left, and that nothing in them runs."""

import argparse
import contextlib
import os
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from attncli.backbones.weight_files import check_values, read_network_weights
from attncli.errors import UserError

TENSORS = {
    "conv1.weight": torch.arange(4.0).reshape(2, 2),
    "layer1.0.conv1.weight": torch.ones(3),
    "layer1.0.bn1.bias": torch.zeros(3),
    "layer1.1.conv1.weight": torch.full((3,), 2.0),
    "fc.weight": torch.ones(5, 3),
}
NAMES = {name: tensor.shape for name, tensor in TENSORS.items()}


class Settings(dict):
    """A mapping of a training script, as yacs and mmengine have them."""


class Meter:
    """An object of a training script."""

    def __init__(self):
        self.values = [1.0]


def prefixed(prefix, tensors=TENSORS):
    """The tensors with something before their names."""
    return OrderedDict((prefix + name, tensor) for name, tensor in tensors.items())


OTHER = {name: tensor + 1 for name, tensor in TENSORS.items()}
CHECKPOINTS = {
    "a state dict": (TENSORS, "w.pth", ()),
    "module.": (prefixed("module."), "w.pth (names without 'module.')", ()),
    "model.": ({"state_dict": prefixed("model.")}, "w.pth ('state_dict', names without 'model.')", ()),
    "backbone.": (
        {"state_dict": prefixed("backbone.") | {"head.fc.weight": torch.ones(7)}},
        "w.pth ('state_dict', names without 'backbone.')", ("head",),
    ),
    "MoCo": (
        {"state_dict": prefixed("module.encoder_q.") | prefixed("module.encoder_k.", OTHER)},
        "w.pth ('state_dict', names without 'module.encoder_q.')", ("module.encoder_k (5 tensors)",),
    ),
    "torch.compile": (prefixed("_orig_mod."), "w.pth (names without '_orig_mod.')", ()),
    "both": ({"model": prefixed("module._orig_mod.")}, "w.pth ('model', names without 'module._orig_mod.')", ()),
    "model_state_dict": ({"model_state_dict": TENSORS, "epoch": 3}, "w.pth ('model_state_dict')", ()),
    "EMA beside": (
        {"state_dict": TENSORS, "state_dict_ema": OTHER}, "w.pth ('state_dict')", ("'state_dict_ema' (5 tensors)",),
    ),
    "EMA alone": ({"model_ema": prefixed("module.")}, "w.pth ('model_ema', names without 'module.')", ()),
    "an optimizer": (
        {"net": TENSORS, "optimizer": {"state": {0: {"momentum": torch.ones(2)}}}},
        "w.pth ('net')", ("'optimizer.state.0'",),
    ),
    "argparse": (
        {"model": TENSORS, "args": argparse.Namespace(lr=0.1, out=Path("x"))},
        "w.pth ('model')", ("argparse.Namespace objects", f"{type(Path()).__module__}.PosixPath objects"),
    ),
    "objects": (
        {"state_dict": TENSORS, "meter": Meter()},
        "w.pth ('state_dict')", ("tests.backbones.test_weight_files.Meter objects",),
    ),
    "mappings of a class": (
        {"cfg": Settings(lr=0.1), "state_dict": TENSORS},
        "w.pth ('state_dict')", ("tests.backbones.test_weight_files.Settings objects",),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CHECKPOINTS)
@pytest.mark.parametrize("is_zip", [True, False])
def test_checkpoints_of_training_scripts(name, is_zip, tmp_path):
    """The network's tensors are found under any prefix and in any dict; what was taken and what was left is named."""
    contents, source, unused = CHECKPOINTS[name]
    torch.save(contents, tmp_path / "w.pth", _use_new_zipfile_serialization=is_zip)
    weights = read_network_weights(tmp_path / "w.pth", NAMES)
    assert weights.source == source
    assert {key: weights.tensors[key].tolist() for key in NAMES} == {k: v.tolist() for k, v in TENSORS.items()}
    assert weights.unused == unused


class Harm:
    """An object whose pickle runs a function."""

    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("function", [os.mkdir, os.system, exec, eval, open])
def test_nothing_in_a_file_runs(function, tmp_path):
    """A pickle that calls a function is refused or loaded without the call."""
    path, mark = tmp_path / "w.pth", tmp_path / "mark"
    harm = {os.mkdir: str(mark), os.system: f"touch {mark}", open: str(mark)}.get(function, f"open({str(mark)!r}, 'w')")
    torch.save({"state_dict": TENSORS, "x": Harm(function, harm, *(["w"] if function is open else []))}, path)
    with contextlib.suppress(UserError):  # a file that asks for the system is refused
        assert set(NAMES) <= set(read_network_weights(path, NAMES).tensors)
    assert not mark.exists()


def test_a_whole_network_is_refused_with_the_way_on(tmp_path):
    """A file of torch.save(network) holds an object, which is not loaded: the hint says how to save its tensors."""
    torch.save(torch.nn.Sequential(torch.nn.Linear(2, 2)), tmp_path / "w.pth")
    with pytest.raises(UserError, match=r"torch\.nn\.modules\.container\.Sequential") as caught:
        read_network_weights(tmp_path / "w.pth", NAMES)
    assert "state_dict()" in caught.value.hint


@pytest.mark.parametrize("name", ["w.safetensors", "w.pth"])
def test_safetensors_have_prefixes_too(name, tmp_path):
    """The same search in the other format, also under the suffix of the first."""
    save_file(prefixed("model.backbone."), tmp_path / name)
    assert read_network_weights(tmp_path / name, NAMES).source.endswith("names without 'model.backbone.')")


@pytest.mark.parametrize(
    ("value", "is_refused"),
    [
        (torch.tensor([1.0, float("nan")]), True),
        (torch.tensor([1, 2]), True),
        (torch.tensor([1j, 2]), True),
        (torch.tensor([1.0, 2.0]).half(), False),
        (torch.tensor([1.0, 2.0]).bfloat16(), False),
    ],
)
def test_values_that_are_no_weights_are_refused(value, is_refused):
    """What is not finite, complex or quantised would be copied in without a word; half precision is fine."""
    network = {"weight": torch.zeros(2), "counter": torch.zeros(2, dtype=torch.int64)}
    with pytest.raises(UserError, match=r"w\.pth: weight holds") if is_refused else contextlib.nullcontext():
        check_values({"counter": torch.tensor([1, 2]), "weight": value}, network, "w.pth")


def test_old_names_of_densenet_are_read(tmp_path):
    """The file that torchvision serves for DenseNet names its layers norm.1 where the network says norm1."""
    torch.save({"denselayer1.norm.1.weight": torch.ones(1), "denselayer1.conv.2.weight": torch.ones(1)}, tmp_path / "x")
    names = {"denselayer1.norm1.weight": torch.Size([1]), "denselayer1.conv2.weight": torch.Size([1])}
    assert set(read_network_weights(tmp_path / "x", names).tensors) == set(names)
