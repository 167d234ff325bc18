"""A run in words and facts: what its network is called, what MLflow is told of its images."""

from attncli import attention
from attncli.data.dataset import Dataset
from attncli.model import Shape
from attncli.recipe import Recipe
from attncli.track import Facts
from attncli.track.origin import label


def shape(dataset: Dataset) -> Shape:
    """What a network must know of a dataset."""
    return Shape(len(dataset.classes), dataset.size, dataset.frames)


def backbone(recipe: Recipe) -> str:
    """The network's name: the backbone, or the mechanism that is the whole network."""
    attn = recipe.model.attn
    whole = attn != attention.NONE and attention.describe(attn).card.site == "model"
    return label(recipe) if whole else recipe.model.backbone


def plain(recipe: Recipe) -> str:
    """The network that the overhead is over: the backbone, without its own attention where that is replaced."""
    model = recipe.model
    return f"{model.backbone} without {model.replace}" if model.replace else model.backbone


def title(recipe: Recipe) -> str:
    """A run in a few words."""
    attn = "" if recipe.model.attn == attention.NONE or backbone(recipe) == label(recipe) else f" + {label(recipe)}"
    return f"{backbone(recipe)}{attn} on {recipe.data.name}, seed {recipe.seed}"


def facts(dataset: Dataset) -> Facts:
    """What MLflow is told of the images."""
    return Facts(
        name=dataset.name,
        digest=dataset.digest,
        source=dataset.source,
        classes=dataset.classes,
        size=dataset.size,
        frames=dataset.frames,
        train=len(dataset.train),
        val=len(dataset.val) if dataset.val else 0,
        test=len(dataset.test),
    )
