"""Files of claims: read whole, and every error told with file, line and column."""

from pathlib import Path

import pytest

from attncli.claims import claim_files
from attncli.errors import CollectedError

GOOD = "- {id: a, kind: params, text: t, source: s, check: 'params(resnet20) > 1'}\n"


def written(folder: Path, text: str) -> list[Path]:
    """A file with this text."""
    (folder / "eca.yaml").write_text(text)
    return [folder / "eca.yaml"]


def test_a_claim_is_read(tmp_path):
    """All keys, the mechanism from the file's name, lines of text joined."""
    text = GOOD.replace("}", ", on: imagenet, size: 64, note: n, evidence: e}").replace("text: t", "text: 'a\n   b'")
    (claim,) = claim_files.read_claim_files(written(tmp_path, text))
    assert (claim.id, claim.card, claim.text, claim.on, claim.size) == ("a", "eca", "a b", "imagenet", 64)
    assert (claim.test, claim.note, claim.evidence) == (None, "n", "e")
    assert claim.tree is not None
    assert claim_files.read_claim_files(written(tmp_path, "")) == ()


def test_a_key_without_a_value_is_none(tmp_path):
    """A template with `on:` left open is a claim that names no dataset."""
    (claim,) = claim_files.read_claim_files(written(tmp_path, GOOD.replace("}", ", on: , size: ~, note: ' '}")))
    assert (claim.on, claim.size, claim.note) == (None, None, None)


def test_a_claim_may_name_modules_of_files(tmp_path):
    """They are looked up as on the command line; the claim knows its file, as the commands about it need it."""
    (tmp_path / "mine.py").write_text(
        "from torch import nn\nclass Gate(nn.Module):\n    def __init__(self, dim, r=4): ...\n"
        "def net(num_classes): ...\n"
    )
    quoted = GOOD.replace("resnet20", f'"{tmp_path}/mine.py:net" + "{tmp_path}/mine.py:Gate"[r=2]')
    paths = written(tmp_path, quoted)
    (claim,) = claim_files.read_claim_files(paths)
    assert claim.file_option == ["--file", str(paths[0])]
    with pytest.raises(CollectedError, match="unknown class: 'Gat'"):
        claim_files.read_claim_files(written(tmp_path, quoted.replace("Gate", "Gat")))
    assert all(claim.file_option == [] for claim in claim_files.load_claims())


@pytest.mark.parametrize(
    ("text", "problem", "hint"),
    [
        ("- {id: a, kind: params, text: t, source: s, chek: x}", "line 1, column 45: unknown key 'chek'", "'check'"),
        ("\n- {id: a, kind: param, text: t, source: s, test: x}", "line 2, column 17: unknown kind: 'param'", "params"),
        ("- {id: a, kind: params, text: t, test: x}", "a claim without source", "needed"),
        ("- {id: a, kind: params, text: t, source: s}", "not one of check, test and untestable", "exactly one"),
        ("- {id: a, kind: params, text: t, source: s, test: x, untestable: y}", "not one of", "exactly one"),
        ("- {id: a, id: b}", "key 'id' stands twice", "leave one out"),
        ("- {id: [a], kind: params}", "id: not a text", "quotes"),
        ("- just words", "not a claim", "- id"),
        ("a: b", "not a list of claims", "- id"),
        ("- {a: [}", "not valid YAML", "fix"),
        (GOOD + GOOD, "claim 'a' stands twice", "one claim"),
        (GOOD.replace("}", ", size: big}"), "size: 'big'", "224"),
        (GOOD.replace("}", ", on: CIFAR-10}"), "line 1, column 80: on: unknown dataset: 'CIFAR-10'", "'cifar10'"),
        (
            GOOD.replace("resnet20", "resnet20, dataset=cifar-100"),
            "column 1 of check: unknown dataset: 'cifar-100'",
            "'cifar100'",
        ),
        (GOOD.replace("text: t", "text: "), "a claim without text", "needed"),
        (
            GOOD.replace("params(", "parms("),
            "line 1, column 52: a: column 1 of check: unknown quantity: 'parms'",
            "'params'",
        ),
        (GOOD.replace("resnet20", "resnet21"), "column 8 of check: unknown network: 'resnet21'", "did you mean"),
        (GOOD.replace("resnet20", "resnet20 + ecaa"), "column 19 of check: model.attn: unknown attention", "'eca'"),
        (GOOD.replace("resnet20", "resnet20 + eca[kk=3]"), "column 19 of check: model.options.kk: unknown option", "k"),
        (GOOD.replace("resnet20", "resnet20[stm=3]"), "unknown option of a backbone: 'stm'", "'stem'"),
        (GOOD.replace("resnet20", "vit + eca"), "'vit' is a whole network", "nothing"),
        (GOOD.replace("resnet20", "resnet20 + vit"), "'vit' is a whole network", "without a backbone"),
        (GOOD.replace("resnet20", "resnet20 + eca @ gat"), "unknown site: 'gat'", "'gate'"),
        (GOOD.replace("resnet20", "resnet20, size=small"), "size: 'small' is not allowed", "int"),
        (
            GOOD.replace("params(resnet20) > 1", "top1(resnet20) == 1"),
            "column 16 of check: ==",
            "~",
        ),
        (GOOD.replace("params(resnet20) > 1", "1 > 2"), "a comparison without any quantity", "params"),
        (
            GOOD.replace("params(resnet20) > 1", "top1(resnet20) > latency(resnet20)"),
            "speed and accuracy in one comparison",
            "and",
        ),
        (
            GOOD.replace("params(resnet20) > 1", "top1(resnet20, dataset=cifar10) > top1(resnet20, dataset=cifar100)"),
            "column 33 of check: accuracies on cifar10 and cifar100 in one comparison",
            "one dataset",
        ),
        (
            GOOD.replace("params(resnet20) > 1", "top1(resnet20, recipe=cifar) > top1(resnet20, recipe=quickstart)"),
            "accuracies of the recipes cifar and quickstart in one comparison",
            "within one recipe",
        ),
        (
            GOOD.replace("params(resnet20) > 1", "top1(resnet20, size=64) > 10 %"),
            "column 1 of check: size: top1 has no such setting",
            "it has dataset, recipe",
        ),
        (GOOD.replace("resnet20", "resnet20, recipe=cifar"), "recipe: params has no such setting", "size"),
    ],
)
def test_errors_tell_file_line_and_column(tmp_path, text, problem, hint):
    """What is wrong, where, and what was meant."""
    with pytest.raises(CollectedError) as error:
        claim_files.read_claim_files(written(tmp_path, text))
    (only,) = error.value.single_errors
    assert problem in only.problem
    assert hint in only.hint


def test_lines_within_a_check_are_counted(tmp_path):
    """In a text of several lines the line of the expression is told too."""
    text = (
        "- id: a\n  kind: params\n  text: t\n  source: s\n  check: |\n    params(resnet20)\n      < parms(resnet20)\n"
    )
    with pytest.raises(CollectedError, match=r"line 5, column 10: a: line 2, column 5 of check: unknown quantity"):
        claim_files.read_claim_files(written(tmp_path, text))


def test_all_errors_at_once(tmp_path):
    """Two bad claims and a file that is not there are three errors."""
    bad = GOOD.replace("resnet20", "resnet21")
    with pytest.raises(CollectedError) as error:
        claim_files.read_claim_files([*written(tmp_path, bad + bad), tmp_path / "none.yaml"])
    assert len(error.value.single_errors) == 3


def test_claims_are_chosen():
    """By id, mechanism and kind; unknown names are told all at once with the nearest."""
    known = claim_files.load_claims()
    found = claim_files.select_claims(known, attn=["eca", "se"], kinds=["params"])
    assert {c.card for c in found} == {"eca", "se"}
    assert {c.kind for c in found} == {"params"}
    assert [c.id for c in claim_files.select_claims(known, ["eca-params"])] == ["eca-params"]
    with pytest.raises(CollectedError) as error:
        claim_files.select_claims(known, ["eca-parms"], attn=["see"], kinds=["sped"])
    assert [e.hint for e in error.value.single_errors] == [
        "did you mean 'eca-params'?", "did you mean 'se'?", "did you mean 'speed'?",
    ]  # fmt: skip


def test_the_example_in_the_help_is_a_file_of_claims(tmp_path):
    """What `attncli help claims` shows is read as it stands."""
    text = Path(claim_files.__file__).parents[1].joinpath("help", "claims.md").read_text(encoding="utf-8")
    example = text.partition("```yaml\n")[2].partition("```")[0]
    claims = claim_files.read_claim_files(written(tmp_path, example))
    assert [(claim.id, claim.kind, claim.on, claim.size) for claim in claims] == [
        ("eca-gain", "accuracy", "cifar10", None),
        ("eca-is-smaller", "params", None, 224),
    ]
