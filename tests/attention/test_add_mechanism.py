"""Adding a mechanism touches two files, its own and its test: proved on a copy of the project.

`make generate` then refreshes what is made from the mechanisms, and nothing else.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.shared import ROOT

NAME = "mean-gate"
FILES = {
    "attncli/attention/channel/mean_gate.py": '''"""Each channel is weighed by the sigmoid of its scaled mean."""

import torch
from torch import Tensor, nn

from attncli.attention.card import Card
from attncli.attention.ops import gate, spatial_mean

card = Card(title="Mean gate", venue="-", year=2026, arxiv=None, site="gate", code="-")


class Attention(nn.Module):
    """(N, C, H, W) -> (N, C, H, W)."""

    def __init__(self, channels: int, *, start: float = 1.0) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.full((channels,), start))

    def forward(self, x: Tensor) -> Tensor:
        """Weigh the channels of x."""
        return gate(x, torch.sigmoid(self.scale * spatial_mean(x)))
''',
    "tests/attention/test_mean_gate.py": '''"""Own facts of the mean gate."""

from typing import Any

OPTIONS: list[dict[str, Any]] = [{}, {"start": 0.5}]
NO_OFFICIAL = "made up for a test"


def parameters(facts: dict[str, Any], options: dict[str, Any]) -> int:
    """One scale per channel."""
    return facts["channels"]
''',
}
GENERATED = {"attncli/backbones/compatibility.yaml", "attncli/help/mechanisms.md"}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project with one more mechanism."""
    folder = tmp_path_factory.mktemp("copy") / "project"
    folder.mkdir()
    for name in ("attncli", "tests", "recipes"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("README.md", "Makefile", "pyproject.toml"):
        shutil.copy(ROOT / name, folder / name)
    for name, text in FILES.items():
        (folder / name).write_text(text, encoding="utf-8")
    return folder


def run_python(project: Path, *words: str) -> str:
    """Return what `python WORDS` prints in the copy; it must succeed."""
    environment = os.environ | {"PYTHONPATH": str(project), "PYTHONDONTWRITEBYTECODE": "1", "NO_COLOR": "1"}
    command = [sys.executable, *words]
    ended = subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


def call(project: Path, *words: str, module: str = "attncli") -> str:
    """Return what `python -m MODULE WORDS` prints in the copy; it must succeed."""
    return run_python(project, "-m", module, *words)


def hash_files(project: Path) -> dict[str, str]:
    """Return the digest of every file of the copy that a contributor could have to change."""
    paths = (p for p in project.rglob("*") if p.is_file() and "__pycache__" not in p.parts and "runs" not in p.parts)
    return {str(p.relative_to(project)): hashlib.sha256(p.read_bytes()).hexdigest() for p in paths}


def test_commands_know_a_new_mechanism(project: Path) -> None:
    """It is listed, shown and accepted by a recipe; sweeps of its category plan it; the matrix does not crash."""
    assert NAME in {row["name"] for row in json.loads(call(project, "ls", "attention", "--json"))}
    shown = json.loads(call(project, "show", NAME, "--json"))
    assert shown["name"] == NAME
    call(project, "check", "--set", f"model.attn={NAME}", "--set", "model.options.start=0.5")
    assert NAME in call(project, "sweep", "channel", "--dry-run")
    rows = [row for row in json.loads(call(project, "ls", "matrix", "--json")) if row["attn"] == NAME]
    assert rows
    assert {row["fits"] for row in rows} == {None}


def test_a_network_is_built_with_a_new_mechanism(project: Path) -> None:
    """Its parameters are counted on a network that is built with it: one per channel of each block."""
    code = f"""
from attncli import validation
from attncli.measure.cost import count_recipe_parameters
from attncli.model import InputSpec

for attn in ("{NAME}", "none"):
    recipe = validation.read(None, ["model.backbone=resnet20", f"model.attn={{attn}}"])
    print(count_recipe_parameters(recipe, InputSpec(10, (32, 32))))
"""
    with_mechanism, plain = map(int, run_python(project, "-c", code).split())
    assert with_mechanism - plain == 3 * (16 + 32 + 64)


def test_its_tests_need_nothing_else(project: Path) -> None:
    """The contract runs for it, and no test about all mechanisms wants a further file."""
    options = ("-q", "-p", "no:cacheprovider")
    call(project, *options, "tests/attention/test_contract.py", "-k", NAME, module="pytest")
    others = (
        "tests/attention/test_parity.py::test_every_mechanism_has_a_fixture",
        "tests/claims/test_claims_data.py::test_claims_are_about_mechanisms",
        "tests/sweep/test_sweep_files.py::test_a_category_is_whole",
    )
    call(project, *options, *others, module="pytest")


@pytest.mark.slow
def test_generate_refreshes_what_is_made_from_mechanisms(project: Path) -> None:
    """`python -m tests.generate` changes the generated files alone, and then every pair has been built."""
    before = hash_files(project)
    call(project, module="tests.generate")
    after = hash_files(project)
    assert before.keys() == after.keys()
    assert {name for name in after if before[name] != after[name]} == GENERATED
    rows = [row for row in json.loads(call(project, "ls", "matrix", "--json")) if row["attn"] == NAME]
    assert {row["fits"] for row in rows} == {True}
