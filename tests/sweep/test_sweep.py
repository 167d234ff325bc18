"""The planning of sweeps: axes, further runs, runs left out, baselines, order, names, and everything wrong at once."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from attncli import sweep, validation
from attncli.errors import UserError
from attncli.recipe import Recipe
from attncli.sweep import make_titles, order_recipes

CATEGORIES = {"all": ("se", "eca", "stn"), "channel": ("se", "eca"), "self-attention": ("vit",)}


def read(tmp_path: Path, tree: Any, overrides: tuple[str, ...] = (), **axes: Any) -> tuple[Recipe, ...]:
    """The recipes of a sweep given as a tree or as text."""
    path = tmp_path / "s.yaml"
    path.write_text(tree if isinstance(tree, str) else yaml.safe_dump(tree, sort_keys=False))
    loaded_sweep = sweep.read(
        path, check=validation.find_recipe_errors, categories=CATEGORIES, overrides=overrides, axes=axes
    )
    assert loaded_sweep.name == "s"
    return loaded_sweep.recipes


def read_errors(tmp_path: Path, tree: Any, overrides: tuple[str, ...] = (), **axes: Any) -> list[str]:
    """What a sweep's reading finds wrong, without the file's name."""
    with pytest.raises(UserError) as caught:
        read(tmp_path, tree, overrides, **axes)
    return [f"{e.problem.replace(f'{tmp_path}/s.yaml: ', '')} | {e.hint}" for e in caught.value.single_errors]


def names(recipes: tuple[Recipe, ...]) -> list[str]:
    """Mechanism and seed of each recipe."""
    return [f"{r.model.attn}{r.seed}" for r in recipes]


def test_the_plain_network_comes_first_and_shares_the_seeds(tmp_path: Path) -> None:
    """Seed by seed, of each seed the baseline and then the mechanisms as written."""
    recipes = read(tmp_path, {"axes": {"attn": ["se", "eca"], "seeds": 2}})
    assert names(recipes) == ["none0", "se0", "eca0", "none1", "se1", "eca1"]


def test_a_list_of_mechanisms_is_a_sweep(tmp_path: Path) -> None:
    """With a recipe that all share, three seeds unless others are named, and a name that says what it is."""
    (tmp_path / "r.yaml").write_text("{seed: 7, train: {epochs: 3}}")
    source = sweep.MechanismList(("se", {"category": "channel"}), tmp_path / "r.yaml")
    loaded_sweep = sweep.read(source, check=validation.find_recipe_errors, categories=CATEGORIES)
    assert names(loaded_sweep.recipes) == [f"{name}{seed}" for seed in (0, 1, 2) for name in ("none", "se", "eca")]
    assert {recipe.train.epochs for recipe in loaded_sweep.recipes} == {3}
    assert loaded_sweep.name == "se-channel"
    assert sweep.MechanismList(tuple("abcdefg")).name == "a-b-c-d-e-and-2-more"
    axes = {"seeds": [4], "backbone": ["resnet20", "resnet56"]}
    recipes = sweep.read(source, check=validation.find_recipe_errors, categories=CATEGORIES, axes=axes).recipes
    assert {(recipe.seed, recipe.model.backbone) for recipe in recipes} == {(4, "resnet20"), (4, "resnet56")}


def test_mechanisms_take_the_place_of_the_files(tmp_path: Path) -> None:
    """One that the file includes with settings of its own is trained by these only; the others are left out."""
    tree = {
        "axes": {"attn": ["se", "gct"], "train.lr": [0.1, 0.2]},
        "include": [{"attn": ["vit", "stn"], "train.lr": 0.3}],
    }
    recipes = [r for r in read(tmp_path, tree, attn=["eca", "vit"]) if r.model.attn != "none"]
    assert [(r.model.attn, r.train.lr) for r in recipes] == [("eca", 0.1), ("eca", 0.2), ("vit", 0.3)]


@pytest.mark.parametrize(("seeds", "used"), [(3, [0, 1, 2]), ([4, 7], [4, 7]), (None, [5])])
def test_seeds(tmp_path: Path, seeds: Any, used: list[int]) -> None:
    """A number, a list, or the recipe's own seed if the file has none."""
    axes = {"attn": ["se"]} | ({} if seeds is None else {"seeds": seeds})
    recipes = read(tmp_path, {"recipe": {"seed": 5}, "axes": axes})
    assert [r.seed for r in recipes if r.model.attn == "se"] == used


def test_a_baseline_is_not_doubled(tmp_path: Path) -> None:
    """Named among the mechanisms, it is still one run, and what only a mechanism has falls away from it."""
    tree = {"recipe": {"model": {"stages": [3]}}, "axes": {"attn": ["none", "se"]}}
    recipes = read(tmp_path, tree)
    assert names(recipes) == ["none0", "se0"]
    assert [r.model.stages for r in recipes] == [None, [3]]


def test_every_combination(tmp_path: Path) -> None:
    """Backbones, datasets and any recipe key multiply; each setting has its own baseline."""
    axes = {"attn": ["se", "eca"], "backbone": ["resnet20", "resnet56"], "train.lr": [0.1, 0.2], "seeds": 2}
    recipes = read(tmp_path, {"axes": axes})
    assert len(recipes) == len({r.compute_digest() for r in recipes}) == 3 * 2 * 2 * 2
    plain = {(r.model.backbone, r.train.lr, r.seed) for r in recipes if r.model.attn == "none"}
    assert len(plain) == 8
    for i, recipe in enumerate(recipes):
        assert recipe.make_baseline().compute_digest() in {r.compute_digest() for r in recipes[: i + 1]}


def test_options_belong_to_their_mechanism(tmp_path: Path) -> None:
    """Options of a value, of an axis and of the base recipe reach the mechanism that has them and no other."""
    of_value = read(tmp_path, {"axes": {"attn": [{"attn": "eca", "options": {"k": 3}, "stages": [2]}, "se"]}})
    assert [(r.model.attn, r.model.options, r.model.stages) for r in of_value] == [
        ("none", {}, None),
        ("eca", {"k": 3}, [2]),
        ("se", {}, None),
    ]
    of_axis = read(tmp_path, {"recipe": {"model": {"attn": "eca"}}, "axes": {"model.options.k": [3, 5]}})
    assert [r.model.options for r in of_axis] == [{}, {"k": 3}, {"k": 5}]
    base = {"recipe": {"model": {"attn": "eca", "options": {"k": 3}}}, "axes": {"attn": ["se", "eca"]}}
    assert [r.model.options for r in read(tmp_path, base)] == [{}, {}, {"k": 3}]


def test_a_category_stands_for_its_mechanisms(tmp_path: Path) -> None:
    """Also with options, and if a mechanism has the category's name."""
    assert names(read(tmp_path, {"axes": {"attn": [{"category": "channel"}, "stn"]}})) == [
        "none0",
        "se0",
        "eca0",
        "stn0",
    ]
    assert names(read(tmp_path, {"axes": {"attn": [{"category": "self-attention"}, "self-attention"]}})) == [
        "none0",
        "vit0",
        "self-attention0",
    ]


def test_a_base_recipe_is_found_beside_the_file(tmp_path: Path) -> None:
    """Its keys hold unless the sweep's own recipe says otherwise."""
    (tmp_path / "base.yaml").write_text("train: {lr: 0.5, epochs: 3}\nmodel: {attn: eca, options: {k: 3}}\n")
    recipes = read(tmp_path, {"recipe": {"base": "base.yaml", "train": {"epochs": 7}}, "axes": {"attn": ["eca"]}})
    assert {(r.train.lr, r.train.epochs) for r in recipes} == {(0.5, 7)}
    assert recipes[1].model.options == {"k": 3}
    other = read(tmp_path, {"recipe": {"base": "base.yaml", "model": {"attn": "se"}}})
    assert [(r.model.attn, r.model.options) for r in other] == [("none", {}), ("se", {})]


def test_include_and_exclude(tmp_path: Path) -> None:
    """Combinations go, lists meaning any of their values; what is included stays and has all seeds, or its own."""
    tree = {
        "axes": {"attn": [{"category": "all"}], "backbone": ["resnet20", "resnet56"], "seeds": 2},
        "exclude": [{"attn": ["se", "stn"], "backbone": "resnet56"}, {"category": "channel", "seed": 1}],
        "include": [
            {"attn": ["vit", "eca"], "train.lr": 0.01, "backbone": "resnet20"},
            {"attn": "se", "backbone": "resnet56", "seed": 7},
        ],
    }
    runs = {(r.model.attn, r.model.backbone, r.train.lr, r.seed) for r in read(tmp_path, tree)}
    assert {run for run in runs if run[0] != "none"} == {
        ("se", "resnet20", 0.1, 0),
        ("eca", "resnet20", 0.1, 0),
        ("eca", "resnet56", 0.1, 0),
        ("stn", "resnet20", 0.1, 0),
        ("stn", "resnet20", 0.1, 1),
        ("vit", "resnet20", 0.01, 0),
        ("vit", "resnet20", 0.01, 1),
        ("eca", "resnet20", 0.01, 0),
        ("eca", "resnet20", 0.01, 1),
        ("se", "resnet56", 0.1, 7),
    }


def test_what_is_included_goes_everywhere(tmp_path: Path) -> None:
    """It has every backbone and dataset of the axes, or its own; other axes are none of its business."""
    tree = {
        "axes": {"attn": ["se"], "backbone": ["resnet20", "resnet56"], "train.lr": [0.2, 0.3]},
        "include": [{"attn": "vit"}, {"attn": "stn", "backbone": "resnet18"}],
    }
    recipes = read(tmp_path, tree, dataset=["cifar10"])
    assert {r.data.name for r in recipes} == {"cifar10"}
    included = [(r.model.attn, r.model.backbone, r.train.lr) for r in recipes if r.model.attn in ("vit", "stn")]
    assert included == [("vit", "resnet20", 0.1), ("vit", "resnet56", 0.1), ("stn", "resnet18", 0.1)]


def test_a_list_of_an_exclude_is_the_value_where_the_key_takes_lists(tmp_path: Path) -> None:
    """stages: [3] means the third stage, not any of 3."""
    axes = {"attn": ["se"], "model.stages": [[1], [3], [1, 3]]}
    recipes = read(tmp_path, {"axes": axes, "exclude": [{"stages": [3]}]})
    assert [r.model.stages for r in recipes] == [None, [1], [1, 3]]


def test_the_command_line_has_the_last_word(tmp_path: Path) -> None:
    """--set holds for every run and is no axis any more; other axes are replaced; exclude may then find nothing."""
    tree = {
        "axes": {"attn": ["se"], "backbone": ["resnet20", "resnet56"], "train.lr": [0.1, 0.2], "seeds": 3},
        "include": [{"attn": "eca", "train.epochs": 50}],
        "exclude": [{"backbone": "resnet56", "train.lr": 0.2}],
    }
    recipes = read(tmp_path, tree, ("train.epochs=1", "train.lr=0.3"), backbone=["resnet20"], seeds=[9])
    assert {(r.train.epochs, r.train.lr, r.seed) for r in recipes} == {(1, 0.3, 9)}
    assert names(recipes) == ["none9", "se9", "eca9"]
    assert {r.seed for r in read(tmp_path, tree, ("seed=4",))} == {4}
    assert {r.model.attn for r in read(tmp_path, tree, ("model.attn=stn",))} == {"none", "stn"}


@pytest.mark.parametrize(
    ("tree", "problem"),
    [
        ({"axis": {}}, "axis: unknown key | did you mean 'axes'?"),
        ({"axes": ["se"]}, "axes: not a mapping | axes: {attn:"),
        ({"axes": {"atn": ["se"]}}, "axes.atn: unknown axis | did you mean 'attn'?"),
        ({"axes": {"seed": [1]}}, "axes.seed: unknown axis | write seeds"),
        ({"axes": {"stages": [[1]]}}, "axes.stages: unknown axis | write model.stages"),
        ({"axes": {"attn": "se"}}, "axes.attn: not a list of values | attn: [...]"),
        ({"axes": {"attn": []}}, "axes.attn: not a list of values | attn: [...]"),
        ({"axes": {"attn": ["se", "se"]}}, "axes.attn: 'se' stands twice | leave one out"),
        ({"axes": {"attn": [{"options": {"k": 3}}]}}, "axes.attn[0]: has no attn | for example"),
        ({"axes": {"attn": [{"attn": "se", "opt": 1}]}}, "axes.attn[0]: unknown key 'opt' | "),
        ({"axes": {"attn": [{"category": "chanel"}]}}, "axes.attn[0]: unknown category: 'chanel' | did you mean"),
        ({"axes": {"attn": ["ecaa"]}}, "model.attn: unknown attention: 'ecaa' | did you mean 'eca'?"),
        ({"axes": {"attn": [{"attn": "se", "options": {"k": 3}}]}}, "model.options.k: unknown option of 'se'"),
        ({"axes": {"backbone": ["resnet19"]}}, "model.backbone: unknown backbone: 'resnet19'"),
        ({"axes": {"dataset": ["cifar11"]}}, "data.name: unknown dataset: 'cifar11'"),
        ({"axes": {"train.lrr": [1.0]}}, "train.lrr: unknown key | did you mean 'lr'?"),
        ({"axes": {"train.lr": ["fast"]}}, 'train.lr: "fast" is not allowed'),
        ({"axes": {"seeds": 0}}, "axes.seeds: 0 is not allowed | allowed: a number of seeds up to 10,000, or a list"),
        ({"axes": {"seeds": 10**30}}, f"axes.seeds: {10**30} is not allowed | allowed: a number of seeds up to 10,000"),
        ({"axes": {"seeds": [1, -1]}}, "axes.seeds: [1, -1] is not allowed"),
        ({"axes": {"seeds": [1, 1]}}, "axes.seeds: 1 stands twice"),
        ({"axes": {"seeds": True}}, "axes.seeds: True is not allowed"),
        (
            {"axes": {"attn": [{"attn": "se", "train.lr": 0.2}], "train.lr": [0.1]}},
            "axes.attn: sets train.lr, as axes.train.lr does | set it in one",
        ),
        ({"include": {"attn": "se"}}, "include: not a list | include: [{attn: vit, train.lr: 1e-3}]"),
        ({"include": ["se"]}, "include[0]: 'se' is not a mapping of keys | for example"),
        ({"axes": {"attn": ["se"]}, "exclude": [{"attn": "eca"}]}, "exclude[0]: no run has model.attn: eca | fix"),
        ({"recipe": "base.yaml"}, "recipe: not a mapping | recipe: {base: NAME"),
        ({"recipe": {"train": {"lrr": 1}}}, "train.lrr: unknown key"),
        ({"recipe": {"trian": {}}}, "trian: unknown key | did you mean 'train'?"),
        ({"axes": {"attn": ["se"]}, "exclude": [{"attn": "se"}]}, "no run is left | exclude less"),
        ({"axes": {"attn": ["se"]}, "sedes": 3}, "sedes: unknown key | did you mean 'axes.seeds'?"),
        ({"axes": {"attn": ["se"]}, "trian": {}}, "trian: unknown key | did you mean 'recipe.train'?"),
        ("# to do\n", "no key in it | a sweep has axes"),
        ("axes: [", "not valid YAML: line "),
        ("axes:\n\tattn: [se]\n", "cannot start any token | use spaces where the line has a tab"),
    ],
)
def test_what_is_wrong_is_told(tmp_path: Path, tree: Any, problem: str) -> None:
    """Each mistake with its place and what to do."""
    assert [problem in line for line in read_errors(tmp_path, tree)] == [True]


def test_a_missing_base_is_told_by_its_name(tmp_path: Path) -> None:
    """The file that is not there is named."""
    (line,) = read_errors(tmp_path, {"recipe": {"base": "nowhere.yaml"}})
    assert line.startswith(f"recipe.base: {tmp_path}/nowhere.yaml: No such file")


def test_a_base_without_a_key_is_told(tmp_path: Path) -> None:
    """It would train the defaults, which no one who names a base wants."""
    (tmp_path / "base.yaml").write_text("# to do\n")
    (line,) = read_errors(tmp_path, {"recipe": {"base": "base.yaml"}, "axes": {"attn": ["se"]}})
    assert line.startswith(f"recipe.base: {tmp_path}/base.yaml: no key in it")


def test_everything_wrong_is_told_at_once(tmp_path: Path) -> None:
    """Mistakes of form, of names, in entries and on the command line, each once for all seeds."""
    tree = {
        "axis": 1,
        "axes": {"attn": ["ecaa", "see"], "seeds": 3, "train.lr": ["x"]},
        "exclude": [{"atn": "se"}],
    }
    lines = read_errors(tmp_path, tree, ("nonsense",), backbone=["resnet19"])
    for part in ("axis", "'ecaa'", "'see'", "train.lr", "exclude[0]", "nonsense", "'resnet19'"):
        assert sum(part in line.partition(" | ")[0] for line in lines) == 1, (part, lines)


def test_runs_are_named_by_what_tells_them_apart() -> None:
    """Options, places and the keys that differ; what most runs share is left out."""
    base = Recipe.model_validate({"model": {"backbone": "resnet20"}})
    k3 = Recipe.model_validate({"model": {"backbone": "resnet20", "attn": "eca", "options": {"k": [3, 5]}}})
    placed = Recipe.model_validate({"model": {"backbone": "resnet20", "attn": "./a/mine.py", "stages": [1, 3]}})
    slow = Recipe.model_validate({"model": {"backbone": "resnet56"}, "train": {"lr": 0.01}, "data": {"name": "clips"}})
    assert make_titles([base, k3, placed, slow]) == [
        "none, resnet20, seed 0",
        "eca k=3+5, resnet20, seed 0",
        "mine stages=1+3, resnet20, seed 0",
        "none, resnet56, clips, lr=0.01, seed 0",
    ]
    assert make_titles([base, slow])[0] == "none, resnet20, digits, lr=0.1, seed 0"
    assert make_titles([]) == []


def test_runs_on_several_folders_of_images_are_named_by_them() -> None:
    """One folder for all runs is no part of their names."""

    def make_recipe(root: str, seed: int) -> Recipe:
        return Recipe.model_validate(
            {"data": {"name": "folder", "root": root}, "model": {"backbone": "resnet20"}, "seed": seed}
        )

    assert make_titles([make_recipe(root, 0) for root in ("clinicA", "clinicB")]) == [
        "none, resnet20, root=clinicA, seed 0",
        "none, resnet20, root=clinicB, seed 0",
    ]
    assert make_titles([make_recipe("clinicA", seed) for seed in range(2)])[1] == "none, resnet20, seed 1"


def test_names_differ_wherever_runs_do(tmp_path: Path) -> None:
    """No two runs of a sweep over many keys have one name."""
    axes = {"attn": ["se", "eca"], "model.site": ["gate", "mid"], "train.ema": [None, 0.9], "seeds": 2}
    recipes = read(tmp_path, {"axes": axes})
    assert len(set(make_titles(recipes))) == len(recipes) == 2 * 2 * (1 + 2 * 2)


def test_order_needs_no_sorting_of_the_seeds() -> None:
    """Seeds keep the order in which they come, and the same recipe twice is one run."""
    one, other = Recipe(seed=3), Recipe.model_validate({"model": {"attn": "se"}, "seed": 1})
    assert names(order_recipes([one, other, one])) == ["none3", "none1", "se1"]


def test_a_section_of_the_command_line_changes_the_keys_that_it_has(tmp_path: Path) -> None:
    """In every run, stronger than the file, also a key that is an axis there."""
    tree = {"recipe": {"train": {"lr": 0.2, "epochs": 3}}, "axes": {"attn": ["se"], "train.momentum": [0.8, 0.9]}}
    recipes = read(tmp_path, tree, ("train={epochs: 5, momentum: 0.7}",))
    assert names(recipes) == ["none0", "se0"]
    assert {(r.train.lr, r.train.epochs, r.train.momentum) for r in recipes} == {(0.2, 5, 0.7)}


def test_entries_share_keys_by_anchors(tmp_path: Path) -> None:
    """An entry may merge another one with <<, and set some of its keys anew."""
    text = "axes: {attn: [se]}\ninclude: [&v {attn: vit, train.lr: 1e-3}, {<<: *v, train.epochs: 20}]\n"
    runs = [r for r in read(tmp_path, text) if r.model.attn == "vit"]
    assert [(r.train.lr, r.train.epochs == 20) for r in runs] == [(0.001, False), (0.001, True)]
