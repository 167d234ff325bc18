"""The modules of a user's own that a file imports."""

from functools import cache
from pathlib import Path

import pytest

from attncli import attention
from attncli.recipe import Recipe
from attncli.system.local_imports import find_local_modules
from tests.commands import plugins

PLUGIN = "from helper import FACTOR\n"


def write_files(root: Path, **texts: str) -> Path:
    """Write files (two underscores for each slash) and return the first."""
    for name, text in texts.items():
        path = root / f"{name.replace('__', '/')}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root / f"{next(iter(texts))}.py"


def test_local_modules_are_found_through_each_other(tmp_path: Path) -> None:
    """Modules, packages and relative imports, also within functions; no library and no missing module."""
    path = write_files(
        tmp_path,
        mine="import json, torch.nn\nimport helper\ndef f():\n    from pack.inner import x\n",
        helper="from attncli import recipe\nimport mine\nimport nowhere\n",
        pack__init="",
        pack__inner="from . import other\nfrom .deep import far\n",
        pack__other="",
        pack__deep="",
        unused="",
    )
    (tmp_path / "pack/init.py").rename(tmp_path / "pack/__init__.py")
    expected = ["helper", "pack", "pack.deep", "pack.inner", "pack.other"]
    assert list(find_local_modules(path)) == expected


def test_a_file_without_local_modules_has_none(tmp_path: Path) -> None:
    """So the digests of runs with such files stay as they were."""
    assert find_local_modules(write_files(tmp_path, mine="import os, torch, attncli.recipe")) == {}


def test_a_changed_helper_is_another_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The content of what a mechanism imports is part of its identity, from its folder and from sys.path alike."""
    path = plugins.write(tmp_path / "mine.py", first=PLUGIN)
    recipe = Recipe.model_validate({"model": {"attn": path}})
    digests = [recipe.compute_digest()]
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.syspath_prepend(tmp_path / "elsewhere")
    for place in (tmp_path / "elsewhere", tmp_path):
        for value in (1, 22):
            (place / "helper.py").write_text(f"FACTOR = {value}")
            digests.append(recipe.compute_digest())
    assert digests[1] == digests[3]  # the same content, wherever it is
    assert len({*digests}) == 3


def test_a_mechanism_imports_the_modules_beside_it(tmp_path: Path) -> None:
    """Two files in two folders each get their own helper, and a changed helper is read again."""
    paths = []
    for i in range(2):
        (tmp_path / str(i)).mkdir()
        (tmp_path / str(i) / "helper.py").write_text(f"FACTOR = {i}")
        paths.append(plugins.write(tmp_path / str(i) / "mine.py", first=PLUGIN))
    assert [attention.load(path).FACTOR for path in paths] == [0, 1]
    (tmp_path / "0/helper.py").write_text("FACTOR = 1234")
    assert attention.load(paths[0]).FACTOR == 1234


def test_installed_packages_are_not_local(tmp_path: Path) -> None:
    """A file among installed packages imports its neighbours as libraries, which have versions of their own."""
    path = write_files(tmp_path, **{"site-packages__mine": "import helper", "site-packages__helper": ""})
    assert find_local_modules(path.with_name("mine.py")) == {}


def test_a_changed_helper_is_other_code(tmp_path: Path) -> None:
    """Runs of a mechanism whose helper differs are not compared as runs of the same code."""
    from attncli.measure.code_state import name_training_code

    path = plugins.write(tmp_path / "mine.py", first=PLUGIN)
    recipe = Recipe.model_validate({"model": {"attn": path}})
    codes = []
    for value in (1, 22):
        (tmp_path / "helper.py").write_text(f"FACTOR = {value}")
        codes.append(name_training_code(recipe).split("/"))
    assert codes[0][0] == codes[1][0]
    assert codes[0][1] != codes[1][1]


def install_package(folder: Path, version: str, **texts: str) -> None:
    """A package `theirs` as pip leaves it, with the mechanism `their-gate`, and empty caches of packages."""
    facts = folder / f"theirs-{version}.dist-info"
    facts.mkdir(parents=True)
    (facts / "METADATA").write_text(f"Metadata-Version: 2.1\nName: theirs\nVersion: {version}\n")
    (facts / "entry_points.txt").write_text("[attncli.attention]\ntheir-gate = theirs.part.gate\n")
    write_files(folder, **texts)
    attention._find_installed_mechanisms.cache_clear()


def test_version_and_content_of_a_package_are_identity(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another version or other code of an installed mechanism is another run; its relative imports work."""
    site = tmp_path / "site-packages"
    site.mkdir()
    monkeypatch.syspath_prepend(site)
    monkeypatch.setattr(
        attention, "_find_installed_mechanisms", cache(attention._find_installed_mechanisms.__wrapped__)
    )
    install_package(site, "1.0", theirs__part__scale="from theirs.unused import x", theirs__unused="x = 1")
    for folder in ("theirs", "theirs/part"):
        (site / folder / "__init__.py").touch()
    path = site / "theirs/part/gate.py"
    plugins.write(path, first="from .scale import x\n")
    recipe = Recipe.model_validate({"model": {"attn": "their-gate"}})
    modules = ["", "theirs", "theirs.part", "theirs.part.scale", "theirs.unused"]
    assert sorted(attention.list_code_files("their-gate")) == modules
    digests = [recipe.compute_digest()]
    assert attention.load("their-gate").Attention.__module__ == "theirs.part.gate"
    (site / "theirs/unused.py").write_text("x = 22")
    digests.append(recipe.compute_digest())
    (site / "theirs-1.0.dist-info/METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1.1\n")
    attention._find_installed_mechanisms.cache_clear()
    digests.append(recipe.compute_digest())
    assert len({*digests}) == 3
    (site / "theirs-1.0.dist-info/entry_points.txt").unlink()
    attention._find_installed_mechanisms.cache_clear()
    assert recipe.build_identity()["model"]["attn"] == "their-gate"  # not installed: results still have their keys
