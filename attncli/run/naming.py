"""Names of a run and its network, and the facts about its images for MLflow."""

from attncli import attention
from attncli.data.dataset import Dataset
from attncli.model import InputSpec
from attncli.recipe import Recipe
from attncli.track import DatasetInfo
from attncli.track.provenance import label_mechanism
from attncli.track.tags import name_images


def make_input_spec(dataset: Dataset) -> InputSpec:
    """Return the facts about a dataset that a network is built with."""
    return InputSpec(len(dataset.classes), dataset.size, dataset.frames)


def name_network(recipe: Recipe) -> str:
    """Return the network's name: the backbone, or the mechanism that is the whole network."""
    return label_mechanism(recipe) if attention.is_whole_network(recipe.model.attn) else recipe.model.backbone_label


def name_baseline(recipe: Recipe) -> str:
    """Return the name of the network to compare with: the backbone, without its own attention if that is replaced."""
    model = recipe.model
    return f"{model.backbone_label} without {model.replace}" if model.replace else model.backbone_label


def format_run_title(recipe: Recipe) -> str:
    """Return a short title of a run."""
    attn = (
        ""
        if recipe.model.attn == attention.NONE or name_network(recipe) == label_mechanism(recipe)
        else f" + {label_mechanism(recipe)}"
    )
    return f"{name_network(recipe)}{attn} on {name_images(recipe)}, seed {recipe.seed}"


def describe_dataset(dataset: Dataset) -> DatasetInfo:
    """Return the facts about the images that MLflow gets."""
    return DatasetInfo(
        name=dataset.name,
        digest=dataset.digest,
        source=dataset.origin,
        classes=dataset.classes,
        size=dataset.size,
        frames=dataset.frames,
        mean=dataset.mean,
        std=dataset.std,
        grey_range=dataset.grey_range,
        train=len(dataset.train),
        val=len(dataset.val) if dataset.val else 0,
        test=len(dataset.test),
    )
