"""The Python interface: light to import, quiet, and equal to what the commands print."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

import attncli
from attncli import validation
from attncli.errors import UserError
from tests.claims.case import run
from tests.commands.line import line
from tests.shared import ROOT
from tests.trained.case import trained_run


def test_the_script_of_the_topic_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As a notebook would run it, beside two finished runs."""
    text = (ROOT / "attncli/help/python-api.md").read_text(encoding="utf-8")
    (script,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    for attn in ("eca", "none"):
        trained_run(Path("runs"), attn)
    names: dict[str, object] = {}
    exec(compile(script, "notebook", "exec"), names)  # the house's own text
    assert names["logits"].shape == (2, 10)  # type: ignore[attr-defined]
    assert names["trained"].classes == tuple("0123456789")  # type: ignore[attr-defined]
    assert "eca" in capsys.readouterr().out


def test_importing_loads_nothing() -> None:
    """Neither torch nor pandas nor MLflow, and the names are there."""
    code = (
        "import sys, attncli\n"
        "assert {'build', 'load', 'runs', 'compare', 'recipe'} <= set(dir(attncli))\n"
        "assert not {'torch', 'pandas', 'mlflow', 'pydantic', 'numpy'} & sys.modules.keys()\n"
        "assert callable(attncli.runs) and callable(attncli.recipe)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_networks_are_those_of_the_commands() -> None:
    """The parameters that `measure` counts, and one seed shares the backbone."""
    eca = attncli.build("resnet20", "eca", image_size=32)
    plain = attncli.build("resnet20", image_size=32)
    counts = [sum(p.numel() for p in net.parameters()) for net in (eca, plain)]
    assert counts == [269_722 + 27, 269_722]
    assert torch.equal(eca.state_dict()["conv1.weight"], plain.state_dict()["conv1.weight"])
    with pytest.raises(UserError, match="resnet21"):
        attncli.build("resnet21")


@pytest.mark.parametrize(
    ("keywords", "name"),
    [
        ({"classes": 0}, "classes"),
        ({"classes": "10"}, "classes"),
        ({"classes": ["cat"]}, "classes"),
        ({"image_size": -1}, "image_size"),
        ({"image_size": 32.0}, "image_size"),
        ({"image_size": (32,)}, "image_size"),
        ({"image_size": True}, "image_size"),
        ({"seed": -1}, "seed"),
        ({"k": 3}, "k"),
        ({"attn": None}, "model.attn"),
        ({"pretrained": "eca-resnet20-s7"}, "no runs"),
    ],
)
def test_wrong_arguments_of_a_network_are_named(
    keywords: dict[str, Any], name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before torch sees them; the folder of the test has no runs, which a checkout may have."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=rf"^{name}\b"):
        attncli.build("resnet20", **{"attn": "eca"} | keywords)  # type: ignore[arg-type]  # wrong on purpose


def test_recipes_are_those_of_the_commands() -> None:
    """By name, with short names and overrides; unknown ones are refused."""
    recipe = attncli.recipe("quickstart", "train.lr=0.05", attn="se", seed=2)
    values = {"model.attn": "se", "seed": 2}
    assert recipe == validation.read(ROOT / "recipes/quickstart.yaml", ["train.lr=0.05"], values)
    with pytest.raises(UserError, match="quickstar"):
        attncli.recipe("quickstar")
    with pytest.raises(TypeError, match=r"train\.lr=1"):
        attncli.recipe(lr=1)
    assert attncli.recipe(None, {"train.lr": 0.3, "data.root": Path("mini")}, dataset="folder").train.lr == 0.3


def test_frames_are_the_json_of_the_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A row per run, and a row per variant with the same figures; nothing for an empty folder."""
    monkeypatch.chdir(tmp_path)
    assert len(attncli.runs()) == len(attncli.compare()) == 0
    assert {"name", "attn", "test_top1", "recipe.train.lr"} <= set(attncli.runs().columns)
    for attn, accuracies in (("eca", [0.9, 0.8, 0.85]), ("se", [0.6, 0.8, 0.7]), ("none", [0.7, 0.7, 0.72])):
        for seed, top1 in enumerate(accuracies):
            run(Path("runs"), attn=attn, seed=seed, top1=top1)
    frame = attncli.runs()
    assert sorted(frame["name"]) == [f"{a}-resnet20-s{s}" for a in ("eca", "none", "se") for s in (0, 1, 2)]
    assert set(frame["recipe.train.lr"]) == {0.1}
    table, printed = attncli.compare(attn="eca"), line("compare", "--json", "--no-plot").json()
    (wanted,) = [row for row in printed if row["attn"] == "eca"]  # tested together with se, also if se is not shown
    shown = {row["attn"]: row for row in line("compare", "--attn", "eca", "--json", "--no-plot").json()}
    assert set(shown) == {"none", "eca"}
    for name in ("diff", "p_holm", "diff_joint_low"):
        assert table[name].tolist()[1] == pytest.approx(wanted[name])
        assert shown["eca"][name] == wanted[name]
    for wrong in ({"backbone": "resnet18"}, {"attn": ["eca", "cbma"]}, {"margin": 0.0}, {"runs": "nosuch"}):
        with pytest.raises(UserError):
            attncli.compare(**wrong)  # type: ignore[arg-type]  # wrong on purpose


def test_a_name_of_several_runs_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The latest is loaded, with a warning, as a notebook has no stderr of a command."""
    folders = [tmp_path / "runs" / digest for digest in ("0a", "0b")]
    for folder in folders:
        folder.mkdir(parents=True)
        (folder / "recipe.yaml").write_text(attncli.recipe("quickstart").to_yaml())
    monkeypatch.setattr("attncli.trained.load_trained_network", lambda folder: folder)
    with pytest.warns(UserWarning, match="2 runs have the name"):
        assert attncli.load("none-resnet18-s0", runs=tmp_path / "runs") in folders


def test_tuples_and_paths_are_taken_in_lists_and_mappings_too() -> None:
    """A recipe has lists and texts; what Python has in their place means the same."""
    recipe = attncli.recipe("quickstart", {"data": {"root": Path("mini"), "classes": ("1", "2")}}, image_size=(16, 24))
    assert (recipe.data.root, recipe.data.classes, recipe.data.image_size) == ("mini", ["1", "2"], [16, 24])
    networks = [attncli.build("resnet20", "se", image_size=32, stages=stages) for stages in ([2, 3], (2, 3))]
    assert len({len(net.state_dict()) for net in networks}) == 1


def test_a_section_changes_the_keys_that_it_has() -> None:
    """The others are the recipe's; a later text, mapping or shortcut of the same key wins as by its dotted name."""
    cifar = attncli.recipe("cifar")
    recipe = attncli.recipe("cifar", {"train": {"epochs": 5, "lr": 0.3}}, "train.lr=0.2", epochs=7)
    assert recipe.train == cifar.train.model_copy(update={"epochs": 5, "lr": 0.2})


def test_a_text_of_a_recipe_names_a_run(tmp_path: Path) -> None:
    """As `attncli run --set` takes it, and as the shortcut does."""
    folder = tmp_path / "runs" / run(tmp_path / "runs", attn="eca", seed=0, top1=0.9).compute_digest()
    with pytest.raises(UserError, match="unknown run"):
        attncli.recipe("quickstart", "model.pretrained=eca-resnet20-s1", runs=tmp_path / "runs")
    (folder / "checkpoint").mkdir()
    (folder / "checkpoint/state.json").write_text('{"tensors": "a.safetensors"}')
    (folder / "checkpoint/a.safetensors").touch()
    recipe = attncli.recipe("quickstart", "model.pretrained=eca-resnet20-s0", runs=tmp_path / "runs")
    assert recipe.model.pretrained == str(folder)
