"""`attncli measure` from end to end: the figures of the cards, every mechanism accounted for."""

import pytest

from attncli import attention
from tests.commands.line import line

# Parameters that mechanisms add to resnet50, as their papers' code has them.
ADDED = {
    "eca": 86,
    "se": 2_514_944,
    "cbam": 2_532_592,
    "bam": 358_067,
    "gsop": 2_728_192,
}


def test_added_parameters_on_resnet50_are_those_of_the_cards(monkeypatch: pytest.MonkeyPatch) -> None:
    """At 224 px with 1000 classes, as `measure` takes by itself from 64 px on."""
    monkeypatch.setenv("COLUMNS", "80")
    done = line("measure", "--attn", ",".join(ADDED), "--backbone", "resnet50", "--image-size", "224", "--no-speed")
    shown = {words[0]: words[2] for words in map(str.split, done.out.splitlines()) if len(words) == 7}
    assert {name: int(shown[name].replace(",", "")) for name in ADDED} == ADDED
    assert "25,557,032 parameters, 4.089 GMACs" in done.err
    assert "cbam 28.089624" in done.out


def test_all_leaves_none_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every mechanism has a line of figures, or a reason."""
    monkeypatch.setenv("COLUMNS", "80")
    text = line("measure", "--attn", "all", "--backbone", "resnet18", "--image-size", "8", "--no-speed").out
    first = [shown.split()[0] for shown in text.splitlines() if shown.strip()]
    assert {name: first.count(name) for name in attention.mechanism_names()} == dict.fromkeys(
        attention.mechanism_names(), 1
    )
    assert "gsop is left out: attention 'gsop' does not fit resnet18 at layer4.1.bn2" in text
    assert max(map(len, text.splitlines())) <= 80
