"""`attncli show`: every mechanism explained in 80 columns, its place in words."""

import re
from pathlib import Path

import pytest

from attncli import attention, backbones
from attncli.attention.card import SITES
from attncli.literature import published
from attncli.literature.peers import find_peers_with
from tests.commands.line import line, refused

EVERY_BLOCK = (
    "eca", "fca", "se", "srm", "ge", "ca", "cbam", "gala", "scse", "simam", "triplet", "tam", "ela", "ema", "ese",
    "gam", "cpca", "lka", "mca", "nam", "polarized", "sa", "scsa", "sge",
)  # fmt: skip
ONCE = (
    "criss-cross", "danet", "encnet", "gltr", "multi-head-external", "psa", "ram", "residual-attention", "stn", "vit",
)  # fmt: skip
WHERE = dict.fromkeys(EVERY_BLOCK, "every block") | dict.fromkeys(ONCE, "once") | {
    "a2": "block 1 and block 3 and block 5 of stages 2 and 3",
    "aa": "every 3x3 convolution, in every block of stages 2, 3 and 4",
    "aff": "every block that has a shortcut",
    "bat": "block 2 and block 4 and block 6 of stages 2 and 3",
    "bot": "every 3x3 convolution, in every block of stage 4; in networks of three stages every block of stage 3",
    "cot": "the last 3x3 convolution, with its norm, in every block",
    "gc": "every block of stages 2, 3 and 4",
    "halo": "the last 3x3 convolution, in every block",
    "involution": "the last 3x3 convolution, in every block",
    "lambda": "the last 3x3 convolution, in every block",
    "odconv": "every 3x3 convolution, in every block",
    "splat": "the first 3x3 convolution, with its norm, in every block",
    "bam": "the last block of stages 1, 2 and 3; in networks of three stages the last block of stages 1 and 2",
    "condconv": "every 3x3 convolution, in every block of stage 4; in networks of three stages every block of stage 3",
    "dcn": "every 3x3 convolution, in every block of stages 2, 3 and 4; "
    "in networks of three stages every block of stages 2 and 3",
    "dyconv": "every 3x3 convolution, in every block",
    "external": "the last block of stage 3; in networks of three stages the last block of stage 2",
    "gct": "every convolution of the network, stem and shortcuts among them",
    "gsop": "the last block of every stage",
    "highway": "every block that has a shortcut",
    "scconv": "the last 3x3 convolution, with its norm, in every block",
    "self-attention": "the last block but one of stage 3; in networks of three stages the last block of stage 2",
    "sk": "the first 3x3 convolution, with its norm, in every block",
    "spnet": "the last block of every stage, and every block of the last stage",
}  # fmt: skip


def shown(name: str) -> str:
    """What `attncli show NAME` prints."""
    done = line("show", name)
    assert (done.code, done.err) == (0, "")
    return done.out


def field(text: str, label: str) -> str:
    """A labelled entry, its lines joined."""
    found = re.search(rf"^{label:10}(.*(?:\n {{10}}.*)*)", text, re.MULTILINE)
    assert found, f"{label} is not shown"
    return " ".join(found[1].split())


@pytest.mark.parametrize("name", attention.mechanism_names())
def test_every_mechanism_is_explained(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Paper, code, site, place, needs, floor, notes and every option, in lines of 80 columns; formulas stay whole."""
    monkeypatch.setenv("COLUMNS", "80")
    mechanism, text = attention.describe_mechanism(name), shown(name)
    card = mechanism.card
    above, paper, below = text.partition("\nPaper ")
    below = paper + below
    assert above.split() == mechanism.doc.split()
    assert [row for row in above.splitlines() if len(row) > 80 and row not in mechanism.doc.splitlines()] == []
    long_rows = [row for row in below.splitlines() if len(row) > 80 and "Literal" not in row]
    assert [row for row in long_rows if row.split() != ["File", field(text, "File")]] == [], "a path is not broken"
    assert field(text, "Code") == " ".join(card.code.split())
    assert field(text, "Site") == f"{card.site}: {SITES[card.site]}"
    assert field(text, "Where") == WHERE[name]
    assert field(text, "Needs") == (", ".join(mechanism.site_arguments) or "nothing of its place")
    assert not card.floor or field(text, "Floor") == card.floor
    assert below.count("\nNote ") == len(card.notes)
    assert not card.aliases or field(text, "Names") == ", ".join(card.aliases)
    peers = find_peers_with(name)
    assert not peers or field(text, "Also in") == ", ".join(peer.name for peer in peers)
    assert below.count("\nDiffers ") == sum(name in peer.differs for peer in peers)
    for option in mechanism.options:
        assert f"\n  {option} = " in below


def test_another_site_in_mobile_networks_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Coordinate attention goes inside an inverted residual, and at the end of other branches."""
    monkeypatch.setenv("COLUMNS", "80")
    text, card = field(shown("ca"), "Mobile"), attention.describe_mechanism("ca").card
    assert text.startswith("mid: inside the branch")
    mobile = [name for name in backbones.backbone_names() if backbones.get_paper_site(name, card) == "mid"]
    assert f"in {', '.join(mobile)}; in other networks" in text
    assert "Mobile" not in shown("se")


@pytest.mark.parametrize("name", attention.mechanism_names())
def test_published_figures_are_all_there_and_marked(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The number told is the number of lines shown, and what was quoted from memory says so."""
    monkeypatch.setenv("COLUMNS", "200")
    rows = published.find_rows_about(name)
    text = shown(name)
    told = re.search(r"^Published figures \((\d+);", text, re.MULTILINE)
    assert bool(told) == bool(rows)
    if told:
        assert int(told[1]) == len(rows)
        part = text[told.start() :]
        known = tuple({f"{row.dataset} {row.backbone} {row.attn}" for row in rows})
        assert sum(" ".join(words.split()).startswith(known) for words in part.splitlines()) == len(rows)
        assert ("(unverified)" in part) == any(row.verified == "no" for row in rows)


def test_a_backbone_is_no_mechanism() -> None:
    """The hint names the commands about backbones, and not a mechanism whose name looks alike."""
    refused(line("show", "resnet20"), "'resnet20' is a backbone", "attncli sites --attn eca --backbone resnet20")


def test_a_class_of_ones_own_has_no_paper() -> None:
    """The name of a class or file is its title; a card of one's own that names a paper has one."""
    code = "class CBAM(nn.Module):\n    def __init__(self, channels):\n        super().__init__()\n"
    Path("cbam.py").write_text(f"from torch import nn\n\n\n{code}")
    text = shown("cbam.py:CBAM")
    assert not re.search(r"^Paper ", text, re.MULTILINE)
    assert field(text, "Title") == "CBAM"
    assert field(shown("eca"), "Paper").endswith("arXiv 1910.03151)")


def test_blank_lines_of_a_docstring_are_text() -> None:
    """Two paragraphs may be three blank lines apart."""
    code = "class Mine(nn.Module):\n    def __init__(self, channels):\n        super().__init__()\n"
    Path("far.py").write_text(f'"""Above.\n\n\n\nBelow."""\n\nfrom torch import nn\n\n\n{code}')
    assert shown("far.py:Mine").startswith("Above.\n\n\n\nBelow.\n")
