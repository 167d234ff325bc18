"""What is known of a dataset without loading torch: its description, and whether its files are there."""

import ast
from pathlib import Path

from attncli.data.find import NAMES

OWN = ("folder", "parquet")  # of files that the user names
READY = {"digits": "there", "clips": "made", "cluttered": "made"}


def state(name: str, root: Path) -> str:
    """Where the files of a dataset are: "there" (below root), "to be fetched", or what it needs instead."""
    if name in READY:
        return READY[name]
    if name in OWN:
        return "needs --data-root"
    if name == "hf":
        return "needs --set data.of=USER/NAME"
    holds = _holds(name)
    there = all(any((root / one.strip()).exists() for one in either.split("|")) for either in holds)
    absent = "needs --data-root" if name == "imagenet" else "to be fetched"
    return "there" if holds and there else absent


def text(name: str) -> str:
    """All that the dataset's file says about it."""
    return ast.get_docstring(_tree(name)) or NAMES[name]


def _holds(name: str) -> tuple[str, ...]:
    """What the download folder has when the dataset is there, each perhaps one of several: `a | b`."""
    for node in _tree(name).body:
        if isinstance(node, ast.Assign) and [getattr(t, "id", None) for t in node.targets] == ["HOLDS"]:
            found: tuple[str, ...] = ast.literal_eval(node.value)
            return found
    return ()


def _tree(name: str) -> ast.Module:
    path = Path(__file__).parent / "sets" / f"{name.replace('-', '_')}.py"
    return ast.parse(path.read_text(encoding="utf-8"))
