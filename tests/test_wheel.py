"""What a wheel holds, and that attncli installed from one works in an empty folder."""

import subprocess
import sys
import tomllib
from fnmatch import fnmatch
from pathlib import Path

import pytest

from attncli.recipe import library
from tests.shared import ROOT


def read_wheel_target() -> dict[str, object]:
    """The section of pyproject.toml that says what a wheel holds."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    return project["tool"]["hatch"]["build"]["targets"]["wheel"]


def test_the_wheel_holds_every_recipe_where_the_package_looks() -> None:
    """The patterns take every YAML file and all results below recipes/, and put them into the folder of the library."""
    target = read_wheel_target()
    packaged = library.PACKAGED_FOLDER.relative_to(ROOT)
    assert target["sources"] == {"attncli": "attncli", "recipes": str(packaged)}
    patterns = [p for p in target["include"] if p.startswith("recipes")]
    files = [
        path.relative_to(ROOT) for kind in ("*.yaml", "*.results", "*.json") for path in (ROOT / "recipes").rglob(kind)
    ]
    assert files
    names = ["recipes/results/any.results", *map(str, files)]
    patterns += [p.replace("**/", "") for p in patterns]
    assert [name for name in names if not any(fnmatch(name, p) for p in patterns)] == []


@pytest.mark.slow
def test_a_wheel_passes_the_journey_in_an_empty_folder(tmp_path: Path) -> None:
    """Built, installed into another folder, called from a third: recipes, sweeps, help and a run by name."""
    site, work = tmp_path / "site", tmp_path / "work"
    work.mkdir()
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q"]
    subprocess.run([*pip, "wheel", "--no-deps", "-w", str(tmp_path), str(ROOT)], check=True)
    (wheel,) = tmp_path.glob("*.whl")
    subprocess.run([*pip, "install", "--no-deps", "--target", str(site), str(wheel)], check=True)

    def call(*words: str) -> str:
        code = (
            f"import sys; sys.path.insert(0, {str(site)!r}); import attncli; assert {str(site)!r} in attncli.__file__"
        )
        code += f"; sys.argv = ['attncli', *{words!r}]; from attncli.__main__ import main; main()"
        done = subprocess.run([sys.executable, "-c", code], cwd=work, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert "quickstart" in call("recipe", "ls")
    assert "eca" in call("sweep", "channel", "--dry-run", "--dataset", "digits")
    assert call("help", "start")
    call("run", "quickstart", "--backbone", "resnet20", "--epochs", "1", "--set", "measure.speed=false", "-q")
    assert "none" in call("compare", "--no-plot")
    assert Path(call("recipe", "cp", "quickstart").strip()) == Path("recipes/quickstart.yaml")
