"""The claims as data: those of the cards, all of them, each decided in one way by something that is there."""

import ast
import re
from collections import Counter
from functools import cache
from pathlib import Path

import pytest
import yaml

from attncli import attention
from attncli.analysis.count_cache import CountCache
from attncli.claims.claim_files import Claim, load_claims
from attncli.claims.evidence import Evidence
from attncli.claims.judge import judge_claims
from attncli.claims.language import EXACT, iterate_quantities
from attncli.claims.throughput import SpeedStore
from attncli.literature.claim_entries import CLAIMS_FOLDER
from attncli.literature.claim_tests import load_claim_tests
from tests.shared import ROOT, SHARED, shared

FAILING = {"sc-no-extra-params"}  # of the exact ones; the note tells whose fault it is
# Claims of a card that are none here: remarks on what was published, and questions of the card's own.
REMARKS = {
    "danet-no-classification", "scse-no-classification", "spnet-no-classification", "psa-task",
    "ela-variants", "gam-size-control", "nam-half",
}  # fmt: skip
ADDED = {  # claims that no card has
    "se-resnext50", "se-last-stage", "se-vgg16", "se-shufflenet", "se-place", "se-stages", "cbam-kernel", "bam-place",
    "bam-dilation", "eca-every-k", "fca-frequencies", "sa-five-blocks", "sk-shufflenet", "vit-patch",
    "cbam-order", "sa-pairwise", "srm-pooling", "srm-integration", "sk-second-kernel", "sk-single-kernel", "aff-scales",
}  # fmt: skip
CARDS = sorted(f"{folder}/{path.stem}" for folder in ("mechanisms", "more")
               for path in (SHARED / "survey" / folder).glob("*.yaml"))  # fmt: skip


def by_id() -> dict[str, Claim]:
    """The claims by their names."""
    return {claim.id: claim for claim in load_claims()}


@cache
def functions_of(file: str) -> frozenset[str]:
    """The names of the test functions of a file; none where there is no such file."""
    path = ROOT / file
    tree = ast.parse(path.read_text(encoding="utf-8")) if path.is_file() else ast.Module([], [])
    return frozenset(node.name for node in tree.body if isinstance(node, ast.FunctionDef))


def test_claims_are_about_mechanisms() -> None:
    """Each file is about a mechanism and has claims (a mechanism may have none), and no name is used twice."""
    assert {path.stem for path in CLAIMS_FOLDER.glob("*.yaml")} <= set(attention.mechanism_names())
    assert {path.stem for path in CLAIMS_FOLDER.glob("*.yaml")} == {claim.card for claim in load_claims()}
    assert [name for name, n in Counter(claim.id for claim in load_claims()).items() if n > 1] == []


@pytest.mark.parametrize("card", CARDS or [""])
def test_every_claim_of_the_card_is_there(card: str) -> None:
    """The claims of a mechanism are those of its card, in its order, each of the kind that the card gives it."""
    listed = yaml.safe_load(shared(f"survey/{card}.yaml").read_text(encoding="utf-8"))["claims"]
    name = card.partition("/")[2]
    ours = [(claim.id, claim.kind) for claim in load_claims() if claim.card == name and claim.id not in ADDED]
    assert ours == [(claim["id"], claim["kind"]) for claim in listed if claim["id"] not in REMARKS]


def test_one_thing_decides_each() -> None:
    """A claim has a check, a test or a reason why it can't be tested, and only one of them."""
    ways = {c.id: [w for w in (c.check, c.test, c.untestable) if w] for c in load_claims()}
    assert {name: w for name, w in ways.items() if len(w) != 1} == {}
    assert all(len(c.untestable) > 30 for c in load_claims() if c.untestable)


def test_named_tests_exist() -> None:
    """What a claim names as its test is a function in this repository."""
    named = {c.id: c.test.partition("::") for c in load_claims() if c.test}
    assert {name: test for name, test in named.items() if test[2] not in functions_of(test[0])} == {}


def test_the_table_of_tests_is_generated() -> None:
    """The table has the tests that claims name, no others, each with a commit (`make generate`)."""
    table = load_claim_tests()
    assert sorted(table) == sorted({claim.test for claim in load_claims() if claim.test})
    assert {name: commit for name, commit in table.items() if not re.fullmatch(r"[0-9a-f]{7,}", commit)} == {}


def test_texts_are_whole_and_ours() -> None:
    """Texts and sources say something, and name no file of the machine or of the library that they were read in."""
    for claim in load_claims():
        assert min(len(claim.text), len(claim.source)) > 5, claim.id
        said = " ".join(filter(None, (claim.text, claim.source, claim.note, claim.untestable, claim.evidence)))
        assert not re.search(r"/work|/root|/tmp|/home|\bseeds? 0|file ids?\b|this session", said), claim.id


def test_sizes_and_datasets_are_known_words() -> None:
    """A dataset is one lower-case word; sizes are given where only exact figures depend on them."""
    for claim in load_claims():
        assert claim.on is None or re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", claim.on), claim.id
        assert claim.size in (None, 224), claim.id


def test_verdicts_on_exact_claims(tmp_path: Path) -> None:
    """Everything that counting alone decides holds, but for those known to fail, whose notes say why."""
    exact = [c for c in load_claims() if c.tree and {q.name for q in iterate_quantities(c.tree)} <= {*EXACT}]
    verdicts = judge_claims(exact, Evidence(CountCache(), SpeedStore(tmp_path, measure=False)))
    assert {v.claim.id for v in verdicts if v.outcome == "fails"} == FAILING
    assert {v.outcome for v in verdicts} == {"holds", "fails"}
    assert all(by_id()[name].note for name in FAILING)
