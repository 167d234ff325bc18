"""Compare our modules with fixtures of the official implementations: python -m tests.attention.parity DIR.

A fixture holds x, y (eval), y_train where training differs, w, grad_x = d sum(y * w) / dx (eval), the official
weights under param/ and, in meta, the constructor's arguments. One line a fixture; exit code 1 if any differs.
"""

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tests.attention.case import own

TOLERANCE = 1e-9


@dataclass(frozen=True)
class Errors:
    """Largest absolute differences from a fixture; None where the fixture has no such array."""

    name: str
    y: float
    grad_x: float | None
    y_train: float | None

    @property
    def ok(self) -> bool:
        """Whether all are within the tolerance."""
        return all(e <= TOLERANCE for e in (self.y, self.grad_x, self.y_train) if e is not None)

    def __str__(self) -> str:
        parts = [f"{k} {'-' if v is None else f'{v:.1e}'}" for k, v in vars(self).items() if k != "name"]
        return f"{self.name:28} {'  '.join(parts)}  {'ok' if self.ok else 'DIFFERS'}"


def find_mechanism(meta: dict[str, Any]) -> str:
    """Return the mechanism of a fixture: its slug, or the longest leading part of it that has a test file."""
    slug = str(meta.get("mechanism") or meta["slug"])
    here = Path(__file__).parent
    while not (here / f"test_{slug.replace('-', '_')}.py").exists():
        slug, dash, _ = slug.rpartition("-")
        if not dash:
            raise SystemExit(f"{meta['slug']}: no test file for this mechanism")
    return slug


def read(path: Path) -> tuple[dict[str, Any], dict[str, Tensor], dict[str, Tensor]]:
    """A fixture's meta, its arrays, and among them the official weights by their official names."""
    arrays = np.load(path, allow_pickle=False)
    data = {k: torch.from_numpy(arrays[k]) for k in arrays.files if k != "meta"}
    params = {k.removeprefix("param/"): v for k, v in data.items() if k.startswith("param/")}
    return json.loads(str(arrays["meta"])), data, params


def compare(path: Path) -> Errors:
    """Build our module from a fixture's weights, run it, and measure how far it is off."""
    meta, data, params = read(path)
    test = own(find_mechanism(meta))
    module, state = test.official(meta, params)
    module.double().load_state_dict(state)
    run = getattr(test, "run", lambda module, data: module(data["x"]))
    data["x"] = data["x"].requires_grad_(data["x"].is_floating_point())
    y = run(module.eval(), data)
    grad = None
    if "grad_x" in data:
        (y * data["w"]).sum().backward()
        grad = _distance(data["x"].grad, data["grad_x"])
    trained = _distance(run(module.train(), data), data["y_train"]) if "y_train" in data else None
    return Errors(path.stem, _distance(y, data["y"]), grad, trained)


def _distance(a: Tensor | None, b: Tensor) -> float:
    if a is None or a.shape != b.shape:
        return float("inf")
    return (a.detach() - b).abs().max().item() if b.numel() else 0.0


def main(folder: str) -> int:
    """Print a line a fixture; 0 if all agree."""
    torch.set_default_dtype(torch.float64)
    found = [compare(path) for path in sorted(Path(folder).glob("*.npz"))]
    for errors in found:
        print(errors)
    print(f"{sum(e.ok for e in found)} of {len(found)} fixtures agree within {TOLERANCE}")
    return 0 if found and all(e.ok for e in found) else 1


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1]))
