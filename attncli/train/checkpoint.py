"""The state of a training on disk: tensors as safetensors, the rest as JSON, never a pickle.

`checkpoint/state.json` names the file of tensors that belongs to it. It is replaced in one step after that file is
on disk, so a kill at any moment leaves either the old checkpoint or the new one, complete.
"""

import json
import zlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load as parse
from torch import Tensor, nn
from torch.amp.grad_scaler import GradScaler
from torch.optim import Optimizer

from attncli.errors import RunFailedError, UserError, quote_word
from attncli.records import Epoch
from attncli.system.files import write_atomically
from attncli.train import optim, safetensors_io
from attncli.train.ema import Ema
from attncli.train.errors import is_device_failure

FOLDER, STATE, SLOTS = "checkpoint", "state.json", ("tensors-a.safetensors", "tensors-b.safetensors")
DIFFERENCES = {"recipe": "another recipe", "data": "other images", "precision": "another precision"}
CheckpointContents = tuple[dict[str, Any], dict[str, Tensor]]  # the head of a checkpoint, its tensors
BroadcastRead = Callable[[Callable[[], CheckpointContents | None]], CheckpointContents | None]
FRESH_HINT = "start again with --fresh, which replaces it"


@dataclass
class TrainingState:
    """Everything that changes while training, and so everything a checkpoint holds."""

    model: nn.Module
    optimizer: Optimizer
    scaler: GradScaler
    ema: Ema | None
    losses: Tensor  # (steps,) of the current epoch
    epoch: int = 0  # epochs done
    step: int = 0  # steps done of the current epoch
    checked_steps: int = 0  # of these, the steps whose losses are averaged over the processes and known to be finite
    epoch_seconds: float = 0.0  # training time of the current epoch
    epoch_records: list[Epoch] = field(default_factory=list)  # of the epochs done

    def finish_epoch(self, record: Epoch) -> None:
        """Close the current epoch with its record and move to the start of the next."""
        self.epoch_records.append(record)
        self.epoch, self.step, self.checked_steps, self.epoch_seconds = self.epoch + 1, 0, 0, 0.0
        self.losses.zero_()


def save_checkpoint(run_dir: Path, state: TrainingState, identity: dict[str, str]) -> None:
    """Write the state under `run_dir`/checkpoint. Raises RunFailedError if the disk does not take it."""
    folder = run_dir / FOLDER
    slot = folder / next(name for name in SLOTS if name != _find_current_slot(folder))
    head = {
        **identity,
        "tensors": slot.name,
        "epoch": state.epoch,
        "step": state.step,
        "seconds": state.epoch_seconds,
        "scaler": state.scaler.state_dict(),
        "epochs": [asdict(record) for record in state.epoch_records],
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        head["crc32"] = safetensors_io.write_tensors(slot, _collect_tensors(state))
        write_atomically(folder / STATE, json.dumps(head, indent=1) + "\n")
        _remove_stale_files(folder, kept_names={slot.name, STATE})
    except OSError as error:
        with suppress(OSError):
            _remove_stale_files(folder, kept_names={_find_current_slot(folder), STATE})
        raise RunFailedError(
            f"{folder}: cannot save the checkpoint: {error.strerror}", "make room there; the same command resumes"
        ) from error


def load_checkpoint(
    run_dir: Path, state: TrainingState, identity: dict[str, str], broadcast: BroadcastRead = lambda read: read()
) -> bool:
    """Restore `state` from the checkpoint under `run_dir`. Return whether there was one.

    Of several processes only the first one must see the folder: `broadcast(read)` sends what it reads to all.
    Raises UserError for a checkpoint that cannot be read, is damaged, or is of another recipe, data, precision or
    network.
    """
    contents = broadcast(partial(_read_checkpoint, run_dir, identity))
    if contents is None:
        return False
    try:
        _restore_state(state, *contents)
    except (KeyError, IndexError, TypeError, ValueError, RuntimeError) as error:
        if is_device_failure(error):
            raise
        raise UserError(
            f"{run_dir / FOLDER / STATE}: checkpoint of another network ({_shorten_error(error)})", FRESH_HINT
        ) from error
    return True


def _read_checkpoint(run_dir: Path, identity: dict[str, str]) -> CheckpointContents | None:
    """Return the checkpoint under `run_dir` after checking it, or None if there is none."""
    path = run_dir / FOLDER / STATE
    if not path.exists():
        return None
    try:
        head, payload = _read_files(path)
        is_intact = zlib.crc32(payload) == head["crc32"]
        saved = parse(payload) if is_intact else {}
        differing_keys = [key for key in DIFFERENCES if head[key] != identity[key]]
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise UserError(f"{path}: damaged checkpoint ({_shorten_error(error)})", FRESH_HINT) from error
    if not is_intact:
        raise UserError(f"{path.parent / head['tensors']}: damaged checkpoint (its checksum is wrong)", FRESH_HINT)
    for key in differing_keys:
        raise UserError(
            f"{path}: checkpoint of {DIFFERENCES[key]} ({head[key]}, this run has {identity[key]})", FRESH_HINT
        )
    return head, saved


def _read_files(path: Path) -> tuple[dict[str, Any], bytes]:
    """Return the head of the checkpoint with this state file, and the bytes of its tensors.

    Raises UserError if the system fails to read them, FileNotFoundError or as parsing does if they are damaged.
    """
    try:
        head: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return head, (path.parent / head["tensors"]).read_bytes()
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        raise
    except OSError as error:
        raise UserError(
            f"{path.parent}: cannot read the checkpoint: {error.strerror}",
            "check the disk and the rights of this folder; the same command goes on when it can be read",
        ) from error


def load_weights(run_dir: Path, model: nn.Module) -> None:
    """Load into `model` the weights under `run_dir` that are evaluated: the moving average if there is one.

    Raises UserError if there is no checkpoint, or if it cannot be read, is damaged or of another network.
    """
    path = run_dir / FOLDER / STATE
    if not path.exists():
        raise UserError(
            f"{path}: there is no checkpoint",
            f"make one: `attncli run --fresh {quote_word(run_dir / 'recipe.yaml')}`",
        )
    try:
        head, payload = _read_files(path)
        if zlib.crc32(payload) != head["crc32"]:
            raise ValueError("a wrong checksum")
        saved = parse(payload)
        averaged_weights = {
            name.removeprefix("ema/"): value for name, value in saved.items() if name.startswith("ema/")
        }
        live_weights = {
            name.removeprefix("model/"): value for name, value in saved.items() if name.startswith("model/")
        }
        model.load_state_dict(live_weights | averaged_weights)
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        raise UserError(
            f"{path}: damaged checkpoint, or one of another network ({_shorten_error(error)})", FRESH_HINT
        ) from error


def count_checkpoint_bytes(state: TrainingState) -> int:
    """Return the size in bytes of the tensors in a checkpoint of this state."""
    return safetensors_io.count_tensor_bytes(_collect_tensors(state))


def clear_checkpoint(run_dir: Path) -> None:
    """Remove the checkpoint under `run_dir`, if there is one. Raises RunFailedError if that is not allowed."""
    try:
        (run_dir / FOLDER / STATE).unlink(missing_ok=True)
        _remove_stale_files(run_dir / FOLDER, kept_names=set())
    except OSError as error:
        raise RunFailedError(
            f"{run_dir / FOLDER}: cannot replace it: {error.strerror}", "check that the folder can be written"
        ) from error


def _collect_tensors(state: TrainingState) -> dict[str, Tensor]:
    groups = {"model": state.model.state_dict(), "optimizer": optim.collect_optimizer_tensors(state.optimizer)}
    if state.ema:
        groups["ema"] = state.ema.averaged_weights
    named = {f"{group}/{name}": value for group, values in groups.items() for name, value in values.items()}
    return {**named, "losses": state.losses}


def _restore_state(state: TrainingState, head: dict[str, Any], saved: dict[str, Tensor]) -> None:
    groups: dict[str, dict[str, Tensor]] = {"model": {}, "optimizer": {}, "ema": {}}
    for key, value in saved.items():
        group, slash, name = key.partition("/")
        if slash:
            groups[group][name] = value
    state.model.load_state_dict(groups["model"])
    optim.restore_optimizer(state.optimizer, groups["optimizer"])
    if state.ema:
        state.ema.restore_average(groups["ema"])
    if head["scaler"]:
        state.scaler.load_state_dict(head["scaler"])
    state.losses.copy_(saved["losses"])
    state.epoch, state.step, state.epoch_seconds = int(head["epoch"]), int(head["step"]), float(head["seconds"])
    state.checked_steps = state.step
    state.epoch_records = [Epoch(**values) for values in head["epochs"]]


def _find_current_slot(folder: Path) -> str:
    """Return the file of tensors that the checkpoint now uses, or "" if there is none."""
    try:
        return str(json.loads((folder / STATE).read_text(encoding="utf-8"))["tensors"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def _remove_stale_files(folder: Path, kept_names: set[str]) -> None:
    """Delete our files except those in `kept_names`: other slots, temporary files that a kill left."""
    for path in folder.glob("*"):
        if path.name not in kept_names and (path.name in SLOTS or path.name.startswith(f".{STATE}.")):
            path.unlink()


def _shorten_error(error: Exception) -> str:
    """Return the first line of an error, or its kind if it has no text."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
