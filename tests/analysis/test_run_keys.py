"""Which runs are the seeds of one variant and which is their plain network, if the user's own files are among them."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from attncli.analysis.compare import compare_variants
from attncli.analysis.comparison_row import ComparisonRow
from attncli.analysis.network_key import make_protocol_key
from attncli.report.comparison_remarks import describe_lost_runs
from attncli.runs import FailedRun, FinishedRun
from tests.analysis.case import finished

NARROW, WIDE = "aaaaaaaa//11111111", "aaaaaaaa//22222222"  # the code of a plain network in two states of its file
NARROW_ECA, WIDE_ECA = "aaaaaaaa/bbbbbbbb/11111111", "aaaaaaaa/bbbbbbbb/22222222"


def _train(attn: str, file: Path, code: str, **keys: Any) -> list[FinishedRun]:
    """Three seeds of a mechanism in the user's network; eca is two points better."""
    gain = 0.02 * (attn == "eca")
    return [
        finished(attn, seed, 0.8 + gain + 0.001 * seed, model__backbone=f"{file}:Net", code=code, **keys)
        for seed in range(3)
    ]


def _find_row(rows: list[ComparisonRow], attn: str) -> ComparisonRow:
    """The one row of a mechanism."""
    [row] = [row for row in rows if row.attn == attn]
    return row


@pytest.fixture
def network(tmp_path: Path) -> Path:
    """A network of the user's; what a run says of its content is given by each test."""
    path = tmp_path / "net.py"
    path.write_text("class Net: ...\n")
    return path


def test_a_network_that_was_edited_is_no_baseline(network: Path) -> None:
    """The plain network of before the edit is not subtracted; that of after it is, and no run of before counts."""
    old_plain, new_eca = _train("none", network, NARROW), _train("eca", network, WIDE_ECA)
    eca = _find_row(compare_variants([*old_plain, *new_eca]), "eca")
    assert eca.difference is None
    assert eca.verdict == "no baseline: trained with network=22222222, the plain network with network=11111111"
    new_plain = [
        replace(run, result=replace(run.result, test_top1=0.819)) for run in _train("none", network, WIDE)
    ]  # one network twice: read last or first, it is that of eca's file which counts
    for runs in ([*old_plain, *new_plain, *new_eca], [*new_plain, *old_plain, *new_eca]):
        eca = _find_row(compare_variants(runs), "eca")
        assert eca.difference is not None
        assert eca.difference.mean == pytest.approx(0.002)
        assert eca.recipe == "network=22222222"


def test_weights_that_were_overwritten_are_no_baseline(tmp_path: Path) -> None:
    """As a network's file; the same weights in another folder are the same."""
    places = [tmp_path / "a" / "w.pth", tmp_path / "b" / "w.pth"]
    for place in places:
        place.parent.mkdir()
        place.write_bytes(b"weights")
    first, second = ({"model__pretrained": str(place)} for place in places)
    plain = [finished("none", s, 0.8 + 0.001 * s, code=NARROW, **first) for s in range(3)]
    same = [finished("eca", s, 0.82 + 0.001 * s, code=NARROW_ECA, **second) for s in range(3)]
    other = [finished("eca", s, 0.82 + 0.001 * s, code=WIDE_ECA, **first) for s in range(3)]
    eca = _find_row(compare_variants([*plain, *same]), "eca")
    assert eca.difference is not None
    assert (eca.difference.n, eca.difference.mean) == (3, pytest.approx(0.02))
    assert _find_row(compare_variants([*plain, *other]), "eca").difference is None


def test_a_network_at_another_path_is_the_same(network: Path, tmp_path: Path) -> None:
    """The path of a file does not part runs, its content does."""
    (tmp_path / "copy").mkdir()
    copy = tmp_path / "copy" / network.name
    copy.write_text(network.read_text())
    rows = compare_variants([*_train("none", network, NARROW), *_train("eca", copy, NARROW_ECA)])
    eca = _find_row(rows, "eca")
    assert eca.difference is not None
    assert (eca.difference.n, eca.difference.mean) == (3, pytest.approx(0.02))
    assert _find_row(rows, "none").recipe == ""


def test_runs_that_do_not_say_the_content_are_paired_by_path(network: Path, tmp_path: Path) -> None:
    """Those of earlier versions, as before; two states of the plain network stay two rows."""
    plain, eca = _train("none", network, "aaaaaaaa/"), _train("eca", network, "aaaaaaaa/bbbbbbbb")
    difference = _find_row(compare_variants([*plain, *eca]), "eca").difference
    assert difference is not None
    assert (difference.n, difference.mean) == (3, pytest.approx(0.02))
    network.write_text("class Net: ...  # wider\n")
    again = _train("none", network, "aaaaaaaa/")
    assert [row.attn for row in compare_variants([*plain, *again])] == ["none", "none"]


def _train_at(root: str, attn: str, seeds: tuple[int, ...], **keys: Any) -> list[FinishedRun]:
    """Seeds on the user's own images that lie there."""
    code = "aaaaaaaa/" + ("" if attn == "none" else "bbbbbbbb")
    values = {"data__name": "folder", "data__root": root, "code": code} | keys
    runs = [finished(attn, seed, 0.8 + 0.02 * (attn == "eca") + 0.001 * seed, **values) for seed in seeds]
    return [replace(run, dataset="folder") for run in runs]


def test_images_at_two_paths_are_the_same_images() -> None:
    """A folder that was moved between the seeds: one plain network and one eca, with all seeds, in one table."""
    runs = [
        *_train_at("/a/flowers", "none", (0, 1, 2)),
        *_train_at("/b/roses", "none", (3, 4, 5)),
        *_train_at("/b/roses", "eca", (3, 4, 5)),
        *_train_at("/a/flowers", "eca", (0, 1, 2)),
    ]
    rows = compare_variants(runs)
    assert [(row.variant, row.seeds, row.images) for row in rows] == [
        ("none", (0, 1, 2, 3, 4, 5), "flowers"),
        ("eca", (0, 1, 2, 3, 4, 5), "flowers"),
    ]
    assert rows[1].difference is not None
    assert (rows[1].difference.n, rows[1].difference.mean) == (6, pytest.approx(0.02))
    assert len({make_protocol_key(run.recipe, run.result.data_digest, {}) for run in runs}) == 1


def test_a_failure_on_images_at_another_path_counts() -> None:
    """Each job of a cluster has a folder of its own, also the one that failed; other images are another matter."""
    runs = [*_train_at("/job/1", "none", (0, 1, 2)), *_train_at("/job/2", "eca", (0, 1))]
    [last] = _train_at("/job/3", "eca", (2,))
    failed = FailedRun(
        recipe=last.recipe, digest=last.digest, group=last.result.group, data_digest=last.result.data_digest
    )
    eca = _find_row(compare_variants(runs, failures=[failed]), "eca")
    assert (eca.failed_seeds, eca.verdict) == ((2,), "not judged: 1 of 3 seeds failed (seed 2)")
    assert describe_lost_runs([failed], runs) == []
    elsewhere = replace(failed, data_digest="e" * 64)
    assert _find_row(compare_variants(runs, failures=[elsewhere]), "eca").failed_seeds == ()
    assert len(describe_lost_runs([elsewhere], runs)) == 1


def test_folds_of_two_folders_stay_apart() -> None:
    """Their digests differ from fold to fold, so that the path alone says which images they are."""
    keys = {"data__folds": 3, "data__fold": 0}
    runs = [
        *_train_at("/a/flowers", "none", (0,), data="a" * 64, **keys),
        *_train_at("/b/flowers", "none", (0,), data="b" * 64, **keys),
    ]
    assert [row.seeds for row in compare_variants(runs)] == [(0,), (0,)]
    assert len({make_protocol_key(run.recipe, run.result.data_digest, {}) for run in runs}) == 2


def test_a_plain_network_has_no_place_of_a_mechanism() -> None:
    """A recipe with model.stages and --attn none is the same plain network as one without."""
    runs = [
        *[finished("none", s, 0.8 + 0.001 * s, model__stages=[3, 4]) for s in (0, 1, 2)],
        *[finished("none", s, 0.8 + 0.001 * s) for s in (3, 4)],
        *[finished("eca", s, 0.82 + 0.001 * s, model__stages=[3, 4]) for s in range(5)],
    ]
    plain, eca = compare_variants(runs)
    assert (plain.variant, plain.seeds) == ("none", (0, 1, 2, 3, 4))
    assert eca.difference is not None
    assert eca.difference.n == 5
