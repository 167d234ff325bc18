"""`attncli measure` from end to end: the figures of the cards, every mechanism accounted for."""

import json
from pathlib import Path

import pytest
from torch import nn

from attncli import attention
from attncli.errors import UserError
from attncli.measure import cost
from attncli.measure.flops import count_parameters
from attncli.measure.overhead import Overhead
from attncli.recipe import Recipe
from tests.commands.line import line

# Parameters that mechanisms add to resnet50, as their papers' code has them; test_card_totals.py has them all.
ADDED = {"eca": 86, "cbam": 2_532_592}


def test_added_parameters_on_resnet50_are_those_of_the_cards(monkeypatch: pytest.MonkeyPatch) -> None:
    """At 224 px with 1000 classes, as `measure` takes by itself from 64 px on."""
    monkeypatch.setenv("COLUMNS", "80")
    done = line("measure", "--attn", ",".join(ADDED), "--backbone", "resnet50", "--image-size", "224", "--no-speed")
    shown = {words[0]: words[2] for words in map(str.split, done.out.splitlines()) if len(words) == 7}
    assert {name: int(shown[name].replace(",", "")) for name in ADDED} == ADDED
    assert "25,557,032 parameters, 4.089 GMACs" in done.err
    assert "cbam 28.089624" in done.out


def test_all_leaves_none_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without --attn every mechanism has a line of figures, or a reason. Only parameters are counted in earnest."""

    def count(net: nn.Module, *_: object) -> cost.NetworkCounts:
        return cost.NetworkCounts(
            params=count_parameters(net), macs=1_000_000, elementwise=1_000_000, activation_bytes=1 << 20
        )

    monkeypatch.setattr(cost, "_remembered_counts", type(cost._remembered_counts)())
    monkeypatch.setattr(cost, "count_network", count)
    monkeypatch.setenv("COLUMNS", "80")
    done = line("measure", "--backbone", "resnet20", "--image-size", "4", "--no-speed")
    text = done.out
    assert str(len(attention.mechanism_names())) in done.err.splitlines()[0]  # how many, before the first is measured
    first = [shown.split()[0] for shown in text.splitlines() if shown.strip()]
    assert {name: first.count(name) for name in attention.mechanism_names()} == dict.fromkeys(
        attention.mechanism_names(), 1
    )
    assert "gsop is left out: attention 'gsop' does not fit resnet20 at layer3.2.bn2" in text
    assert max(map(len, text.splitlines())) <= 80


def test_nothing_measured_is_an_error(tmp_path: Path) -> None:
    """If no mechanism fits, the exit code says so, and the reason is the error."""
    path = tmp_path / "mine.py"
    path.write_text("from torch import nn\nclass Halve(nn.Module):\n    def forward(self, x): return x[:, :1]\n")
    done = line("measure", "--attn", f"{path}:Halve", "--backbone", "resnet20", "--image-size", "8", "--no-speed")
    assert done.code == 2
    assert "returns (2, 1, 8, 8) for (2, 16, 8, 8)" in done.err
    as_json = line(
        "measure", "--attn", f"{path}:Halve", "--backbone", "resnet20", "--image-size", "8", "--no-speed", "--json"
    )
    assert as_json.code == 2
    assert "returns (2, 1, 8, 8)" in json.loads(as_json.out)[0]["problem"]


def test_the_recipe_says_how_many_images_a_step_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """--batch-size and --set go before the recipe, and the recipe before the default."""
    monkeypatch.chdir(tmp_path)
    batches: list[int | None] = []

    def measure_nothing(recipes: list[Recipe], *_: object, **__: object) -> list[Overhead]:
        batches.append(recipes[0].measure.batch_size)
        raise UserError("nothing is measured", "it is a test")

    monkeypatch.setattr("attncli.commands.measure._measure_rows", measure_nothing)
    Path("mine.yaml").write_text("model: {backbone: resnet20, attn: eca}\nmeasure: {batch_size: 32}\n")
    for words in (
        ("mine.yaml",),
        ("mine.yaml", "--batch-size", "4"),
        ("mine.yaml", "--set", "measure.batch_size=8"),
        (),
    ):
        line("measure", *words, *(() if words else ("--attn", "eca")))
    assert batches == [32, 4, 8, 128]
