"""The Python interface: light to import, quiet, and equal to what the commands print."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import attncli
from attncli import validation
from attncli.errors import UserError
from tests.claims.case import pairs
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


def test_recipes_are_those_of_the_commands() -> None:
    """By name, with short names and overrides; unknown ones are refused."""
    recipe = attncli.recipe("quickstart", "train.lr=0.05", attn="se", seed=2)
    values = {"model.attn": "se", "seed": 2}
    assert recipe == validation.read(ROOT / "recipes/quickstart.yaml", ["train.lr=0.05"], values)
    with pytest.raises(UserError, match="quickstar"):
        attncli.recipe("quickstar")
    with pytest.raises(TypeError, match="lr"):
        attncli.recipe(lr=1)


def test_frames_are_the_json_of_the_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A row per run, and a row per variant with the same figures; nothing for an empty folder."""
    monkeypatch.chdir(tmp_path)
    assert len(attncli.runs()) == len(attncli.compare()) == 0
    pairs(Path("runs"), "eca", [0.9, 0.8], [0.7, 0.7])
    frame = attncli.runs()
    assert sorted(frame["name"]) == [f"{a}-resnet20-s{s}" for a in ("eca", "none") for s in (0, 1)]
    assert set(frame["recipe.train.lr"]) == {0.1}
    table, printed = attncli.compare(attn="eca"), line("compare", "--json", "--no-plot").json()
    assert table["diff"].tolist()[1] == pytest.approx(printed[1]["diff"])
    assert len(attncli.compare(backbone="resnet18")) == 0
