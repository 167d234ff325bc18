"""A process that times training steps of a recipe with several numbers of threads, for `--jobs auto` on a CPU.

    python -m attncli.jobs.step_timer REQUEST      (REQUEST as JSON: recipe, folder of runs, numbers of threads)

It prints one line of JSON: seconds of a step by number of threads and bytes of memory, or the device if it is no CPU.
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil

from attncli import data, model, train
from attncli.measure.fake_tensors import image_shape
from attncli.measure.thread_times import time_by_threads
from attncli.measure.timed_network import prepare_timed_network
from attncli.recipe import Recipe
from attncli.run import make_input_spec
from attncli.train.malloc import tune_malloc
from attncli.train.precision import resolve_precision


def main(request_json: str) -> None:
    """Time the steps of a request and print the answer."""
    request = json.loads(request_json)
    recipe, runs = Recipe.model_validate(request["recipe"]), Path(request["runs"])
    print(json.dumps(time_recipe(recipe, runs, request["threads"])), flush=True)


def time_recipe(recipe: Recipe, runs: Path, thread_counts: Sequence[int]) -> dict[str, Any]:
    """Return `seconds` of a training step by number of threads, and `bytes` of memory; or the `device`, if no CPU.

    Args:
        recipe: whose network, batch and number format are timed.
        runs: the folder of runs, with the cache of images.
        thread_counts: numbers of threads, the largest first.
    """
    device = train.resolve_device(train.init_accelerator())
    if device.type != "cpu":
        return {"device": str(device)}
    tune_malloc()
    dataset = data.load(recipe.resolve_data(), cache=runs / "cache")
    spec = make_input_spec(dataset)
    batch = min(recipe.train.batch_size, len(dataset.train))
    timed_network = prepare_timed_network(
        model.build(recipe, spec),
        recipe,
        spec.classes,
        image_shape(batch, spec.size, spec.frames),
        resolve_precision(recipe.train.precision, device),
        device,
    )
    return {
        "seconds": time_by_threads(timed_network.train, thread_counts),
        "bytes": psutil.Process().memory_info().rss,
    }


if __name__ == "__main__":
    main(sys.argv[1])
