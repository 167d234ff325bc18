"""A run in words and facts: what its network is called, what MLflow is told of its images."""

from attncli import attention
from attncli.data.dataset import Dataset
from attncli.model import InputSpec
from attncli.recipe import Recipe
from attncli.track import DatasetInfo
from attncli.track.provenance import label_mechanism


def make_input_spec(dataset: Dataset) -> InputSpec:
    """Return what a network must know of a dataset."""
    return InputSpec(len(dataset.classes), dataset.size, dataset.frames)


def name_network(recipe: Recipe) -> str:
    """Return the network's name: the backbone, or the mechanism that is the whole network."""
    return label_mechanism(recipe) if attention.is_whole_network(recipe.model.attn) else recipe.model.backbone


def name_baseline(recipe: Recipe) -> str:
    """Return the network that the overhead is over: the backbone, without its own attention if that is replaced."""
    model = recipe.model
    return f"{model.backbone} without {model.replace}" if model.replace else model.backbone


def format_run_title(recipe: Recipe) -> str:
    """Return a run in a few words."""
    attn = (
        ""
        if recipe.model.attn == attention.NONE or name_network(recipe) == label_mechanism(recipe)
        else f" + {label_mechanism(recipe)}"
    )
    return f"{name_network(recipe)}{attn} on {recipe.data.name}, seed {recipe.seed}"


def describe_dataset(dataset: Dataset) -> DatasetInfo:
    """Return what MLflow is told of the images."""
    return DatasetInfo(
        name=dataset.name,
        digest=dataset.digest,
        source=dataset.origin,
        classes=dataset.classes,
        size=dataset.size,
        frames=dataset.frames,
        train=len(dataset.train),
        val=len(dataset.val) if dataset.val else 0,
        test=len(dataset.test),
    )
