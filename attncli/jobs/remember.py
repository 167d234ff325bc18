"""Datasets kept from one run of a worker to the next: those of a sweep mostly are the same."""

from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from attncli import data
from attncli.recipe import Data

if TYPE_CHECKING:
    from attncli.data.dataset import Dataset

CACHED_DATASETS = 2  # datasets


def cache_datasets(capacity: int = CACHED_DATASETS) -> Callable[..., "Dataset"]:
    """`data.load` that gives what it read before, if the recipe asks for the very same images again."""
    datasets: OrderedDict[str, Dataset] = OrderedDict()

    def load_cached(recipe: Data, **options: Any) -> "Dataset":
        key = recipe.model_dump_json()
        if key in datasets:
            datasets.move_to_end(key)
        else:
            datasets[key] = data.load(recipe, **options)
            while len(datasets) > capacity:
                datasets.popitem(last=False)
        return datasets[key]

    return load_cached
