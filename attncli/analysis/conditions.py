"""What two runs must share, beside recipe and images, so that their difference is the mechanism's.

Training in another precision, on another kind of device, with another torch, on another number of processes or with
other code of the loop changes accuracy too. Such runs stand in tables of their own.
"""

from collections import defaultdict
from collections.abc import Sequence

from attncli.dataset_catalog import find_properties
from attncli.recipe import Recipe
from attncli.recipe.image_size import format_image_size
from attncli.records import Result
from attncli.runs import FailedRun, FinishedRun

UNKNOWN = "unknown"  # what a run of an earlier version did not record
AUTO = "auto"
USUAL_SIDE = 224  # px, at which papers train on photographs of many sizes
CONDITION_NAMES = ("precision", "device", "torch", "processes", "code")
NETWORK = "network"  # in the key of a baseline: the hash of the user's own network and weights
GUESSED_NAMES = ("precision", "device", "torch")
PART_KEYS = ("classes", "per_class", "fraction", "test_per_class")


def describe_conditions(result: Result | FailedRun) -> dict[str, str]:
    """Return the conditions of a run: precision, device, torch, processes, code."""
    loop_code, _, _ = (result.code or "").partition("/")
    torch_version = str(result.machine.get("torch") or "")
    return {
        "precision": result.precision if result.precision not in ("", AUTO) else UNKNOWN,
        "device": result.device.partition(":")[0] or UNKNOWN,
        "torch": ".".join(torch_version.split(".")[:2]) or UNKNOWN,
        "processes": str(result.machine.get("processes", 1)),
        "code": loop_code or UNKNOWN,
    }


def complete_conditions(runs: Sequence[FinishedRun]) -> list[dict[str, str]]:
    """Return the conditions of each run.

    What a run did not record (runs of version 0.1.0 that only MLflow has) is taken from the other runs on the same
    images, if all of those that know it agree. The code is never guessed.
    """
    conditions = [describe_conditions(run.result) for run in runs]
    known: dict[tuple[str, str], set[str]] = defaultdict(set)
    for run, values in zip(runs, conditions, strict=True):
        for name in GUESSED_NAMES:
            known[name, run.result.data_digest] |= {values[name]} - {UNKNOWN}
    for run, values in zip(runs, conditions, strict=True):
        for name in GUESSED_NAMES:
            candidates = known[name, run.result.data_digest]
            if values[name] == UNKNOWN and len(candidates) == 1:
                (values[name],) = candidates
    return conditions


def name_mechanism_code(result: Result | FailedRun) -> str:
    """Return the hash of the mechanism's code, "" if there is none or it is unknown."""
    return _read_code_part(result, 1)


def name_network_files(result: Result | FailedRun) -> str:
    """Return the hash of the user's own network and weights, "" if there are none or it is unknown."""
    return _read_code_part(result, 2)


def _read_code_part(result: Result | FailedRun, number: int) -> str:
    """Return a part of the name of the code (`attncli.measure.code_state`), "" if the name lacks it."""
    parts = (result.code or "").split("/")
    return parts[number] if number < len(parts) else ""


def describe_part(recipe: Recipe) -> str:
    """Return which part of the dataset a recipe uses, and at which size if not its own; "" for all of it."""
    data = recipe.data
    parts = [f"{key}={getattr(data, key)}" for key in PART_KEYS if getattr(data, key) is not None]
    properties = find_properties(data.name)
    if properties is not None and properties.printed_name and data.size is not None:
        usual_side = properties.side or USUAL_SIDE
        parts += [f"image_size={format_image_size(data.size)}"] * (data.image_size != usual_side)
    return " ".join(parts)
