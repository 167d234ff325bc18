"""Pretrained weights: what loads, what stays new, what is told, and what is refused."""

import hashlib
import io
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision.models
from safetensors.torch import save_file

from attncli import backbones, model
from attncli.backbones import pretrained
from attncli.errors import UserError
from attncli.recipe import Recipe, read
from tests.commands.line import line


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """torch's cache is an empty folder, and nothing is downloaded."""
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))

    def offline(*_: Any, **__: Any) -> None:
        raise OSError("no network")

    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", offline)


def recipe(given: bool | str, attn: str = "none", backbone: str = "mobilenet_v3_small", **keys: Any) -> Recipe:
    """A recipe with pretrained weights."""
    values = {"model.attn": attn, "model.backbone": backbone, "model.pretrained": given}
    return read(values=values | {f"model.{k}": v for k, v in keys.items()})


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The state dict of torchvision's MobileNetV3 as torchvision draws it, for ImageNet's classes."""
    torch.manual_seed(3)
    path = tmp_path_factory.mktemp("weights") / "weights.pth"
    torch.save(torchvision.models.mobilenet_v3_small(weights=None).state_dict(), path)
    return path


def test_equals_torchvision_with_its_weights(file: Path) -> None:
    """With as many classes everything loads and the logits are torchvision's."""
    net = model.build(recipe(str(file)), model.InputSpec(1000, (64, 64))).eval()
    theirs = torchvision.models.mobilenet_v3_small(weights=None).eval()
    theirs.load_state_dict(torch.load(file, weights_only=True))
    x = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.equal(net(x), theirs(x))


def test_other_classes_get_a_new_head_and_it_is_told(file: Path) -> None:
    """Everything but the last layer is the file's; the head is what the seed draws, and a line says so."""
    said: list[str] = []
    net = model.build(recipe(str(file)), model.InputSpec(10, (64, 64)), said.append)
    plain = model.build(read(values={"model.backbone": "mobilenet_v3_small"}), model.InputSpec(10, (64, 64)))
    theirs = torch.load(file, weights_only=True)
    for name, tensor in net.state_dict().items():
        source = plain.state_dict() if name.startswith("classifier.3") else theirs
        assert torch.equal(tensor, source[name]), name
    assert said == [
        "pretrained: 208 of 210 tensors (1.52 M parameters) from weights.pth; "
        "new: classifier.3 (10x1024 instead of 1000x1024)"
    ]


def test_a_mechanism_keeps_the_weights_and_what_it_disturbs_is_told(file: Path) -> None:
    """Beside a mechanism the backbone has the same weights, and one that is not the identity at first is named."""
    said: list[str] = []
    net = model.build(recipe(str(file), "eca"), model.InputSpec(1000, (64, 64)), said.append)
    theirs = torch.load(file, weights_only=True)
    own = {k.replace(".host.", "."): v for k, v in net.state_dict().items() if ".attn." not in k}
    assert own.keys() == theirs.keys()
    assert all(torch.equal(own[k], theirs[k]) for k in own)
    assert [("'eca'" in text) for text in said] == [False, True]


@pytest.mark.parametrize(
    ("attn", "options", "is_warned"),
    [
        ("gct", {}, False),
        ("gc", {}, False),
        ("gc", {"fusion": "mul"}, True),
        ("a2", {}, True),
        ("a2", {"zero_init": True}, False),
        ("a2", {"zero_init": True, "residual": False}, True),
        ("danet", {}, True),
        ("danet", {"fuse": "mean"}, False),
    ],
)
def test_what_disturbs_pretrained_features_is_told_by_its_options(
    tmp_path: Path, attn: str, options: dict[str, Any], is_warned: bool
) -> None:
    """A gate of 1/2 or a map that is doubled disturbs them, a sum that starts as x does not."""
    path = tmp_path / "resnet18.pth"
    torch.save(torchvision.models.resnet18(weights=None).state_dict(), path)
    said: list[str] = []
    model.build(recipe(str(path), attn, "resnet18", options=options), model.InputSpec(1000, (64, 64)), said.append)
    assert any("does not start as the identity" in text for text in said) is is_warned


def test_a_mechanism_that_replaces_convolutions_is_told(tmp_path: Path) -> None:
    """sk draws its kernels; dcn starts with those of the file."""
    path = tmp_path / "resnet18.pth"
    theirs = torchvision.models.resnet18(weights=None).state_dict()
    torch.save(theirs, path)
    said: dict[str, list[str]] = {"sk": [], "dcn": []}
    for attn, texts in said.items():
        net = model.build(recipe(str(path), attn, "resnet18"), model.InputSpec(1000, (64, 64)), texts.append)
    assert torch.equal(net.get_parameter("layer4.1.conv2.attn.conv.weight"), theirs["layer4.1.conv2.weight"])
    assert "replaces pretrained convolutions" in said["sk"][1]
    assert "starts with the pretrained kernels" in said["dcn"][1]


def test_a_stem_for_small_images_is_new(tmp_path: Path) -> None:
    """Of resnet18 for 224 px all fits one for 32 px but the first convolution; what training scripts add goes."""
    path = tmp_path / "mine.safetensors"
    theirs = torchvision.models.resnet18(weights=None, num_classes=10).state_dict()
    save_file({f"module.{k}": v for k, v in theirs.items()}, path)
    net = backbones.load("resnet18").build("resnet18", 10, cifar_stem=True)
    loaded = pretrained.load(net, backbones.load("resnet18").find_structure(net), "resnet18", str(path))
    assert loaded.new_parts == ("conv1 (64x3x3x3 instead of 64x3x7x7)",)
    assert torch.equal(net.layer4[1].conv2.weight, theirs["layer4.1.conv2.weight"])


def test_weights_of_another_network_are_refused(file: Path) -> None:
    """The first tensor that differs is named."""
    with pytest.raises(UserError, match=r"weights.pth is not of resnet18: bn1.weight is \(64,\) here and not in the"):
        model.build(recipe(str(file), backbone="resnet18"), model.InputSpec(1000, (64, 64)))


def write_archive(*names: str) -> bytes:
    """Return a ZIP archive with empty members of these names."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name in names:
            archive.writestr(name, b"")
    return content.getvalue()


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "an empty file"),
        (b"no tensors", "cannot be read"),
        (b"<!DOCTYPE HTML>\n<p>", "a web page"),
        (b"version https://git-lfs.github.com/spec/v1", "Git LFS"),
        (b"\x89HDF\r\n\x1a\n", "HDF5"),
        (write_archive("bias.npy"), "arrays of NumPy"),
        (write_archive("net/data.pkl", "net/code/net.py"), "TorchScript"),
        (write_archive("weights.pth"), "an archive"),
        (None, "holds no tensors"),
    ],
)
def test_files_that_hold_no_weights_are_refused(content: bytes | None, told: str, tmp_path: Path) -> None:
    """An empty file, another file and a file of other things are named in one line."""
    path = tmp_path / "weights.pth"
    if content is None:
        torch.save({"epoch": 3}, path)
    else:
        path.write_bytes(content)
    with pytest.raises(UserError, match=told) as refused:
        model.build(recipe(str(path)), model.InputSpec(10, (64, 64)))
    assert "\n" not in str(refused.value.problem)


def test_without_network_a_missing_file_is_a_line(tmp_path: Path) -> None:
    """The file, the folder it should lie in and where it comes from are told."""
    with pytest.raises(UserError, match=r"mobilenet_v3_small-\w+.pth is not in .*: no network") as refused:
        model.build(recipe(True), model.InputSpec(10, (64, 64)))
    assert "https://" in refused.value.hint


def test_a_cached_file_is_taken_unless_it_is_damaged(tmp_path: Path, file: Path) -> None:
    """torchvision's file is found in torch's cache, and one whose content is not what its name says is refused."""
    weights = torchvision.models.MobileNet_V3_Small_Weights.IMAGENET1K_V1
    cached = tmp_path / "hub" / "checkpoints" / weights.url.rpartition("/")[-1]
    cached.parent.mkdir(parents=True)
    cached.write_bytes(file.read_bytes())
    with pytest.raises(UserError, match="is damaged"):
        model.build(recipe(True), model.InputSpec(10, (64, 64)))
    sha = hashlib.sha256(file.read_bytes()).hexdigest()[:8]
    named = cached.with_name(f"weights-{sha}.pth")
    cached.rename(named)
    pretrained._check_download(named)


def test_networks_without_published_weights_say_so() -> None:
    """CIFAR's networks have none."""
    with pytest.raises(UserError, match="torchvision has no weights for resnet20"):
        model.build(recipe(True, backbone="resnet20"), model.InputSpec(10, (32, 32)))


def test_every_network_of_torchvision_has_weights_to_name() -> None:
    """For every backbone that torchvision has, `true` means a file."""
    own = {n for n in backbones.backbone_names() if backbones.find_family(n) in ("resnet_cifar", "preact")}
    for name in set(backbones.backbone_names()) - own:
        assert torchvision.models.get_model_weights(name)[pretrained.WEIGHTS].url.endswith(".pth")


def test_the_option_asks_for_published_weights() -> None:
    """`--pretrained` sets the key, and a file that is not there is told before anything is built."""
    assert "pretrained: true" in line("check", "--pretrained").out
    assert "pretrained: false" in line("check").out
    told = line("check", "--set", "model.pretrained=nowhere.pth")
    assert told.code == 2
    assert "model.pretrained: nowhere.pth: no such file" in told.err


def test_identity_is_the_content(tmp_path: Path) -> None:
    """The same weights in another folder are the same run, other weights under the same name another."""
    for name, content in (("a", b"1"), ("b", b"1"), ("c", b"2")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "w.pth").write_bytes(content)
    a, b, c = (recipe(str(tmp_path / name / "w.pth")).compute_digest() for name in "abc")
    assert a == b != c
