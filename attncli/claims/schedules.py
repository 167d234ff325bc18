"""Which recipe tests a comparison: chosen by its dataset and its networks, so that all of them share one."""

from collections.abc import Set

from attncli.claims.networks import is_made_for_small_images
from attncli.dataset_catalog import find_properties, list_datasets

MOBILE_NETS = frozenset(
    {"mobilenet_v2", "mobilenet_v3_small", "mobilenet_v3_large", "mnasnet1_0", "shufflenet_v2_x1_0", "efficientnet_b0",
     "efficientnet_b1"}
)  # fmt: skip
SMALL_IMAGES = 96  # px; up to this side the CIFAR schedule is the usual one
RECURRENT = "ram"  # a whole network that needs its own optimiser
FAST_TWINS = {"cifar": "cifar-fast", "imagenet": "imagenet-fast", "imagenet-mobile": "imagenet-fast"}
_RECIPES_BY_DATASET = {
    "digits": "quickstart", "clips": "clips-tam", "imagenette": "imagenette-resnet18",
    "imagewoof": "imagenette-resnet18",
}  # fmt: skip
# Datasets that attncli cannot get, with the one that tests a claim about them instead.
_STAND_INS = {
    "cluttered-mnist": "cluttered",
    "scaled-mnist": "mnist",
    "mnist-rts": "mnist",
    "mnist-rotated": "mnist",
    "malc": "imagenette",
    "fine-grained": "imagenette",
}
LARGE_STAND_IN, SMALL_STAND_IN = "imagenet", "cifar10"


def choose_recipe_name(dataset: str, networks: Set[str]) -> str | None:
    """Return the name of the recipe that trains all of `networks` (backbones or whole networks) on a dataset.

    On the user's own images it is the one that suits the networks. None if there is no recipe for the dataset.
    """
    if dataset == "cluttered":
        return "cluttered-ram" if RECURRENT in networks else "cluttered-stn"
    if dataset in _RECIPES_BY_DATASET:
        return _RECIPES_BY_DATASET[dataset]
    properties = find_properties(dataset)
    if properties is None:
        return None
    if properties.side is not None and properties.side <= SMALL_IMAGES:
        return "digits-ram" if RECURRENT in networks else "cifar"
    if properties.origin in ("user", "hub") and any(map(is_made_for_small_images, networks)):
        return "cifar"
    if dataset == "imagenet" or properties.origin in ("user", "hub"):
        return "imagenet-mobile" if networks <= MOBILE_NETS else "imagenet"
    return None


def find_stand_in(dataset: str | None, networks: Set[str]) -> str | None:
    """Return the dataset to test a claim on that attncli cannot get, or None if it can get the claim's own."""
    if dataset in list_datasets():
        return None
    if dataset in _STAND_INS:
        return _STAND_INS[dataset]
    is_small = not networks or any(map(is_made_for_small_images, networks))
    return SMALL_STAND_IN if is_small else LARGE_STAND_IN
