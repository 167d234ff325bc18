"""What is known of a dataset without loading torch: its description, and whether its files are there."""

import ast
from pathlib import Path

from attncli.data.registry import DATASETS

LOCAL_DATASETS = ("folder", "parquet")  # of files that the user names
READY_STATES = {"digits": "there", "clips": "made", "cluttered": "made"}


def describe_availability(name: str, root: Path) -> str:
    """Where the files of a dataset are: "there" (below root), "to be fetched", or what it needs instead."""
    if name in READY_STATES:
        return READY_STATES[name]
    if name in LOCAL_DATASETS:
        return "needs --data-root"
    if name == "hf":
        return "needs --set data.of=USER/NAME"
    required_paths = _read_required_paths(name)
    is_complete = all(
        any((root / alternative.strip()).exists() for alternative in alternatives.split("|"))
        for alternatives in required_paths
    )
    missing_state = "needs --data-root" if name == "imagenet" else "to be fetched"
    return "there" if required_paths and is_complete else missing_state


def read_description(name: str) -> str:
    """All that the dataset's file says about it."""
    return ast.get_docstring(_parse_dataset_file(name)) or DATASETS[name]


def _read_required_paths(name: str) -> tuple[str, ...]:
    """What the download folder has when the dataset is there, each perhaps one of several: `a | b`."""
    for node in _parse_dataset_file(name).body:
        if isinstance(node, ast.Assign) and [getattr(target, "id", None) for target in node.targets] == ["HOLDS"]:
            required_paths: tuple[str, ...] = ast.literal_eval(node.value)
            return required_paths
    return ()


def _parse_dataset_file(name: str) -> ast.Module:
    path = Path(__file__).parent / "datasets" / f"{name.replace('-', '_')}.py"
    return ast.parse(path.read_text(encoding="utf-8"))
