"""The file of weights that `model.pretrained` names: a state dict, or the checkpoint in the folder of a run."""

import json
from contextlib import suppress
from pathlib import Path

CHECKPOINT_STATE = Path("checkpoint") / "state.json"  # in the folder of a run; it names the file of tensors


def locate_weights(path: Path) -> Path:
    """Return the file of tensors of a run's folder; any other path, also one that does not exist, as it is."""
    state_file = path / CHECKPOINT_STATE
    with suppress(OSError, ValueError, KeyError, TypeError):
        return state_file.parent / str(json.loads(state_file.read_text(encoding="utf-8"))["tensors"])
    return path
