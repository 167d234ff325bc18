"""Shells complete what attncli knows, in a moment."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.commands.line import line, refused
from tests.report.test_run_progress import finished_run

HERE = str(Path(sys.executable).parent)


def completed(*words: str, cwd: Path) -> list[str]:
    """What bash is told for the last of these words, in a process of its own that must not load torch."""
    asked = {"COMP_WORDS": " ".join(("attncli", *words)), "COMP_CWORD": str(len(words))}
    code = (
        "import sys; sys.argv = ['attncli']\n"
        "from attncli.__main__ import main\n"
        "try: main()\n"
        "finally: assert not {'torch', 'mlflow', 'matplotlib'} & sys.modules.keys()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=cwd,
        env=os.environ | asked | {"_ATTNCLI_COMPLETE": "bash_complete"},
    )  # fmt: skip
    assert "Error" not in done.stderr, done.stderr
    return [text.partition(",")[2] for text in done.stdout.splitlines()]


def test_names_are_completed(tmp_path: Path) -> None:
    """Mechanisms, also after a comma; backbones; recipes, own and shipped; the runs that are there."""
    finished_run(tmp_path / "runs", "eca")
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes" / "quick.yaml").write_text("")
    assert completed("run", "--attn", "ec", cwd=tmp_path) == ["eca"]
    assert completed("compare", "--attn", "se,ec", cwd=tmp_path) == ["se,eca"]
    assert "resnet18" in completed("run", "--backbone", "resnet1", cwd=tmp_path)
    assert completed("run", "qui", cwd=tmp_path) == ["quick", "quickstart"]
    assert completed("look", "e", cwd=tmp_path) == ["eca-resnet18-s0"]


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (("claims", "eca-par"), "eca-params"),
        (("claims", "--attn", "sima"), "simam"),
        (("claims", "run", "--backbone", "resnet2"), "resnet20"),
        (("bench", "blocks", "--attn", "sima"), "simam"),
        (("data", "prepare", "cifar10"), "cifar10"),
        (("sweep", "--dataset", "digits,cifar10"), "digits,cifar10"),
        (("show", "sima"), "simam"),
        (("help", "trouble"), "troubleshooting"),
        (("published", "--backbone", "resnet5"), "resnet50"),
        (("run", "--set", "train.label_s"), "train.label_smoothing"),
        (("claims", "--verdict", "holds,shown"), "holds,shown-by-a-test"),
        (("report", "--folder-is", "imagenett"), "imagenette"),
    ],
)
def test_options_of_every_group_are_completed(tmp_path: Path, words: tuple[str, ...], name: str) -> None:
    """Also where a command stands in a group, or is a group's default."""
    assert name in completed(*words, cwd=tmp_path)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_gets_its_script(shell: str) -> None:
    """It calls attncli back in the way that click answers."""
    done = line("completion", shell)
    assert done.code == 0
    assert f"_ATTNCLI_COMPLETE={shell}_complete" in done.out


def test_other_shells_are_refused() -> None:
    """An unknown shell is told in a line."""
    refused(line("completion", "tcsh"), "tcsh")


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash")
def test_bash_completes(tmp_path: Path) -> None:
    """The script works in a real bash."""
    script = (
        'eval "$(attncli completion bash)"\n'
        "COMP_WORDS=(attncli run --attn simam); COMP_CWORD=3\n"
        '_attncli_completion attncli; echo "${COMPREPLY[@]}"'
    )
    environment = os.environ | {"PATH": f"{HERE}:{os.environ['PATH']}"}
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False, env=environment)
    assert done.stdout.split() == ["simam"], done.stderr
