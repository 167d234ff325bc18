"""The state of a training on disk: tensors as safetensors, the rest as JSON, never a pickle.

`checkpoint/state.json` names the file of tensors that belongs to it and is replaced in one go after that file is
on disk, so that a kill at any moment leaves the old checkpoint or the new one, whole.
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

from attncli.errors import RunFailedError, UserError
from attncli.records import Epoch, write_atomically
from attncli.train import optim, tensors
from attncli.train.ema import Ema

FOLDER, STATE, SLOTS = "checkpoint", "state.json", ("tensors-a.safetensors", "tensors-b.safetensors")
FACTS = {"recipe": "another recipe", "data": "other images", "precision": "another precision"}
Found = tuple[dict[str, Any], dict[str, Tensor]]  # the head of a checkpoint, its tensors
Share = Callable[[Callable[[], Found | None]], Found | None]
ANEW = "start anew without --resume, which replaces it"


@dataclass
class State:
    """Everything that changes while training, and so everything a checkpoint holds."""

    model: nn.Module
    optimizer: Optimizer
    scaler: GradScaler
    ema: Ema | None
    losses: Tensor  # (steps,) of the epoch under way
    epoch: int = 0  # epochs done
    step: int = 0  # steps done of the epoch under way
    read: int = 0  # of these, the steps whose losses are averaged over the processes and known to be numbers
    seconds: float = 0.0  # training time of the epoch under way
    epochs: list[Epoch] = field(default_factory=list)  # of the epochs done

    def next_epoch(self, record: Epoch) -> None:
        """Close the epoch under way with its record and stand at the start of the next."""
        self.epochs.append(record)
        self.epoch, self.step, self.read, self.seconds = self.epoch + 1, 0, 0, 0.0
        self.losses.zero_()


def save(run: Path, state: State, facts: dict[str, str]) -> None:
    """Write the state under `run`/checkpoint. Raises RunFailedError where the disk does not take it."""
    folder = run / FOLDER
    slot = folder / next(name for name in SLOTS if name != _slot(folder))
    head = {
        **facts,
        "tensors": slot.name,
        "epoch": state.epoch,
        "step": state.step,
        "seconds": state.seconds,
        "scaler": state.scaler.state_dict(),
        "epochs": [asdict(e) for e in state.epochs],
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        head["crc32"] = tensors.write(slot, _tensors(state))
        write_atomically(folder / STATE, json.dumps(head, indent=1) + "\n")
        _remove(folder, keep={slot.name, STATE})
    except OSError as error:
        with suppress(OSError):
            _remove(folder, keep={_slot(folder), STATE})
        raise RunFailedError(
            f"{folder}: cannot save the checkpoint: {error.strerror}", "make room there, then go on with --resume"
        ) from error


def load(run: Path, state: State, facts: dict[str, str], share: Share = lambda read: read()) -> bool:
    """Bring `state` to the checkpoint under `run`; False where there is none.

    Of several processes the first one alone needs to see the folder: `share(read)` gives all what it reads.
    Raises UserError for a checkpoint that is damaged, of another recipe, data or precision, or of another network.
    """
    found = share(partial(_read, run, facts))
    if found is None:
        return False
    try:
        _restore(state, *found)
    except (KeyError, IndexError, TypeError, ValueError, RuntimeError) as error:
        raise UserError(f"{run / FOLDER / STATE}: checkpoint of another network ({_short(error)})", ANEW) from error
    return True


def _read(run: Path, facts: dict[str, str]) -> Found | None:
    """The checkpoint under `run`, looked over; None where there is none."""
    path = run / FOLDER / STATE
    if not path.exists():
        return None
    try:
        head = json.loads(path.read_text(encoding="utf-8"))
        payload = (path.parent / head["tensors"]).read_bytes()
        sound = zlib.crc32(payload) == head["crc32"]
        saved = parse(payload) if sound else {}
        differing = [key for key in FACTS if head[key] != facts[key]]
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise UserError(f"{path}: damaged checkpoint ({_short(error)})", ANEW) from error
    if not sound:
        raise UserError(f"{path.parent / head['tensors']}: damaged checkpoint (its checksum is wrong)", ANEW)
    for key in differing:
        raise UserError(f"{path}: checkpoint of {FACTS[key]} ({head[key]}, this run has {facts[key]})", ANEW)
    return head, saved


def weights(run: Path, model: nn.Module) -> None:
    """Bring `model` to the weights under `run` that are evaluated: the moving average where there is one.

    Raises UserError where there is no checkpoint, or one that is damaged or of another network.
    """
    path = run / FOLDER / STATE
    if not path.exists():
        raise UserError(f"{path}: there is no checkpoint", f"attncli run --fresh {run / 'recipe.yaml'} makes one")
    try:
        saved = parse((path.parent / _slot(path.parent)).read_bytes())
        mean = {name.removeprefix("ema/"): value for name, value in saved.items() if name.startswith("ema/")}
        live = {name.removeprefix("model/"): value for name, value in saved.items() if name.startswith("model/")}
        model.load_state_dict(live | mean)
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise UserError(f"{path}: damaged checkpoint, or one of another network ({_short(error)})", ANEW) from error


def size(state: State) -> int:
    """Bytes of the tensors that a checkpoint of this state holds."""
    return tensors.size(_tensors(state))


def clear(run: Path) -> None:
    """Remove the checkpoint under `run`, if there is one. Raises RunFailedError where that is not allowed."""
    try:
        (run / FOLDER / STATE).unlink(missing_ok=True)
        _remove(run / FOLDER, keep=set())
    except OSError as error:
        raise RunFailedError(f"{run / FOLDER}: cannot replace it: {error.strerror}", "is it writable?") from error


def _tensors(state: State) -> dict[str, Tensor]:
    parts = {"model": state.model.state_dict(), "optimizer": optim.tensors(state.optimizer)}
    if state.ema:
        parts["ema"] = state.ema.mean
    named = {f"{part}/{name}": value for part, values in parts.items() for name, value in values.items()}
    return {**named, "losses": state.losses}


def _restore(state: State, head: dict[str, Any], saved: dict[str, Tensor]) -> None:
    parts: dict[str, dict[str, Tensor]] = {"model": {}, "optimizer": {}, "ema": {}}
    for key, value in saved.items():
        part, slash, name = key.partition("/")
        if slash:
            parts[part][name] = value
    state.model.load_state_dict(parts["model"])
    optim.restore(state.optimizer, parts["optimizer"])
    if state.ema:
        state.ema.restore(parts["ema"])
    if head["scaler"]:
        state.scaler.load_state_dict(head["scaler"])
    state.losses.copy_(saved["losses"])
    state.epoch, state.step, state.seconds = int(head["epoch"]), int(head["step"]), float(head["seconds"])
    state.read = state.step
    state.epochs = [Epoch(**values) for values in head["epochs"]]


def _slot(folder: Path) -> str:
    """The file of tensors that the checkpoint now uses, "" where there is none."""
    try:
        return str(json.loads((folder / STATE).read_text(encoding="utf-8"))["tensors"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def _remove(folder: Path, keep: set[str]) -> None:
    """Delete our files but those in `keep` (other slots, temporary files a kill left)."""
    for path in folder.glob("*"):
        if path.name not in keep and (path.name in SLOTS or path.name.startswith(f".{STATE}.")):
            path.unlink()


def _short(error: Exception) -> str:
    """The first line of an error, or its kind where it has no text."""
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0]}" if text else type(error).__name__
