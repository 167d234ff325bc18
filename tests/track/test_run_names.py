"""Names of runs: whatever a sweep can vary tells them apart, in the name or beside the others of one name."""

from typing import Any

import pytest

from attncli.track.run_names import distinguish_names
from attncli.track.tags import format_run_name
from tests.track.recorded_runs import recipe

OTHER_VALUES: dict[str, Any] = {  # for keys whose default is no number, or is the only one of its kind
    "data.name": "cifar10", "data.of": "mnist", "data.configuration": "a", "data.unused_splits": ["a"],
    "data.image_column": "a", "data.label_column": "a", "data.image_size": 32, "data.classes": 3, "data.per_class": 4,
    "data.fraction": 0.5, "data.test_per_class": 4, "data.folds": 5, "data.group_column": "a",
    "data.group_pattern": "a", "data.content": "sha256:0123456789abcdef", "data.background": "red",
    "data.grey_range": [0.0, 1.0], "data.max_pixels": 4, "data.bad": "skip",
    "data.orientation": "ignore", "data.pad": 4, "data.flip": True, "data.crop": "resized", "data.policy": "rand",
    "model.attn": "se", "model.backbone": "resnet20", "model.options": {"k": 3}, "model.site": "mid",
    "model.stages": [1], "model.blocks": [-1], "model.block_paths": ["a.*"], "model.stem": "cifar",
    "model.last_stride": 1, "model.channels": 1, "model.replace": "se", "model.zero_init_residual": True,
    "model.pretrained": "weights.pth", "train.optimizer": "adam", "train.schedule": "step", "train.step_epochs": [2],
    "train.class_weights": "balanced", "train.sampling": "balanced", "train.lr_factors": {"stem": 0.0},
    "train.clip_norm": 0.5, "train.ema": 0.5, "train.precision": "fp32",
}  # fmt: skip
NO_NAME = ("data.root", "data.decoded", "data.fold")  # where images are, and a fold without folds


def vary_value(key: str, value: Any) -> Any:
    """Return another value for a key than its default."""
    if key in OTHER_VALUES:
        return OTHER_VALUES[key]
    if isinstance(value, bool):
        return not value
    return value + 2 if isinstance(value, int) else 0.25


def test_every_key_of_a_recipe_tells_two_runs_apart() -> None:
    """A recipe that differs in one key has another full name, with the key if the name alone is the same."""
    for key, value in recipe().flatten_keys().items():
        if key in NO_NAME or key.startswith("measure."):
            continue
        other = recipe(**{"model__attn": "eca", key.replace(".", "__"): vary_value(key, value)})
        assert other != recipe(), key
        names = distinguish_names([recipe(), other])
        assert len(set(names)) == 2, key
        assert names[0].startswith(format_run_name(recipe())), key


@pytest.mark.parametrize(
    ("values", "name"),
    [
        ({"model__blocks": [1, -1]}, "eca:1:-1-resnet18-s0"),
        ({"model__stages": [3], "model__blocks": [1]}, "eca/3:1-resnet18-s0"),
        ({"data__folds": 5, "data__fold": 2}, "eca-resnet18-fold2of5-s0"),
        ({"data__folds": 5}, "eca-resnet18-fold0of5-s0"),
        ({"model__stem": "imagenet", "model__last_stride": 1}, "eca-resnet18[stem=imagenet,last_stride=1]-s0"),
        ({"model__pretrained": "/a/b/weights.pth"}, "eca-resnet18[pretrained=weights.pth]-s0"),
    ],
)
def test_the_network_and_the_fold_are_in_the_name(values: dict[str, Any], name: str) -> None:
    """Places, changes of the network and folds are in the name of a run that stands alone."""
    assert format_run_name(recipe(**values)) == name


def test_runs_of_one_name_get_what_differs() -> None:
    """The keys in which not all agree, with their values; paths and seeds are none of them, other names stay."""
    slow, fast, other = recipe(train__lr=0.1), recipe(train__lr=0.3), recipe("se", train__lr=0.3)
    assert distinguish_names([slow, other, fast]) == [
        "eca-resnet18-s0[lr=0.1]", "se-resnet18-s0", "eca-resnet18-s0[lr=0.3]"
    ]  # fmt: skip
    assert distinguish_names([recipe(), recipe(data__name="cifar10", train__epochs=3)]) == [
        "eca-resnet18-s0[images=digits,epochs=12]", "eca-resnet18-s0[images=cifar10,epochs=3]"
    ]  # fmt: skip
    assert distinguish_names([recipe(), recipe(seed=1)]) == ["eca-resnet18-s0", "eca-resnet18-s1"]
    assert distinguish_names([recipe(), recipe(data__root="/a"), recipe(measure__speed=False)]) == 3 * [
        "eca-resnet18-s0"
    ]
    assert distinguish_names([recipe(), recipe(train__lr=0.3, data__pad=2)]) == [
        "eca-resnet18-s0[lr=0.1]", "eca-resnet18-s0[pad=2,lr=0.3]"
    ]  # fmt: skip
    long = "c" * 60
    assert distinguish_names([recipe(data__image_column=long), recipe(data__image_column="c")]) == [
        f"eca-resnet18-s0[image_column={39 * 'c'}…]", "eca-resnet18-s0[image_column=c]"
    ]  # fmt: skip
    assert distinguish_names([]) == []


def test_images_of_one_name_are_told_apart() -> None:
    """Folders by what of their paths differs, and other images in one folder by their content."""
    roots = [recipe(data__name="folder", data__root=root) for root in ("/d/a/photos", "/d/b/x/photos", "photos")]
    assert distinguish_names(roots[:2]) == [f"eca-resnet18-s0[images={n}]" for n in ("a/photos", "b/x/photos")]
    assert len(set(distinguish_names(roots))) == 3
    changed = roots[0].pin_content("0123456789abcdef" * 4)
    assert distinguish_names([roots[0], changed]) == [
        "eca-resnet18-s0[content=null]", "eca-resnet18-s0[content=sha256:0123456789abcdef]"
    ]  # fmt: skip
