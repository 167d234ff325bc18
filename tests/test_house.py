"""The layers of the house: a module imports only from lower layers or from its own package."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "attncli"
LAYERS: list[set[str]] = [
    {"spelling"},
    {"errors", "palette", "quantities", "seeds", "shortcuts"},
    {"system"},
    {"dataset_catalog", "attention"},
    {"recipe", "records"},
    {"sweep", "data"},
    {"backbones", "literature"},
    {"validation"},
    {"model"},
    {"train"},
    {"measure"},
    {"benchmark"},
    {"track"},
    {"runs"},
    {"portable_runs"},
    {"run", "result_files"},
    {"result_checks"},
    {"trained"},
    {"interpret"},
    {"jobs"},
    {"analysis"},
    {"claims"},
    {"report"},
    {"doctor"},
    {"api"},
    {"commands"},
    {"__main__"},
]
LEVEL = {name: i for i, layer in enumerate(LAYERS) for name in layer}
ALLOWED = {
    "torch": (
        "attention/",
        "backbones/",
        "data/",
        "model/",
        "train/",
        "measure/",
        "run/",
        "trained/",
        "api.py",
        "benchmark/",
        "interpret/",
        "doctor.py",
        "commands/bench/blocks.py",
    ),
    "click": ("commands/", "__main__.py"),
    "mlflow": ("track/",),
    "matplotlib": ("report/",),
    "jinja2": ("report/",),
    "ray": ("jobs/executors/ray.py",),
    "submitit": ("jobs/executors/slurm.py",),
    "accelerate": ("train/", "run/"),
}
FILES = sorted(PACKAGE.rglob("*.py"))


def imported(path: Path) -> set[str]:
    """Every module that a file names in an import, at any depth."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        if isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def part(path: Path) -> str:
    """The package or module directly below attncli that a file belongs to."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_go_down(path: Path) -> None:
    """No import goes up or sideways in the list of layers."""
    own = part(path)
    if own == "__init__":
        return
    others = {m.split(".")[1] for m in imported(path) if m.startswith("attncli.")} - {own}
    others &= LEVEL.keys()
    assert own in LEVEL, f"{own} has no layer"
    assert {o for o in others if LEVEL[o] >= LEVEL[own]} == set()


@pytest.mark.parametrize("library", ALLOWED)
def test_libraries_stay_in_their_layers(library: str) -> None:
    """torch, click, mlflow, matplotlib and accelerate are imported only where the house allows it."""
    users = {str(p.relative_to(PACKAGE)) for p in FILES if any(m.split(".")[0] == library for m in imported(p))}
    assert {u for u in users if not u.startswith(ALLOWED[library])} == set()


LIGHT = [
    "--help",
    "ls attention",
    "ls backbones",
    "ls matrix",
    "ls data",
    "ls recipes",
    "show eca",
    "check",
    "run --help",
    "sweep channel --dry-run",
]


@pytest.mark.parametrize("line", LIGHT)
def test_light_commands_never_load_torch(line: str) -> None:
    """Commands that only tell load neither torch nor mlflow."""
    code = (
        "import sys; sys.argv[1:] = " + repr(line.split()) + "\n"
        "from attncli.__main__ import main\n"
        "try: main()\n"
        "except SystemExit as e: assert not e.code, e.code\n"
        "heavy = {'torch', 'mlflow', 'matplotlib', 'scipy'} & sys.modules.keys()\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=PACKAGE.parent, check=False)
    assert done.returncode == 0, done.stderr
