"""The error by the choice of test images, and McNemar's test."""

from pathlib import Path

import numpy as np
import pytest
from scipy import stats as scipy_stats

from attncli.analysis.image_error import compare_disagreements, estimate_image_error
from attncli.track.predictions import PREDICTIONS_FILE, read_predictions, write_predictions


def test_mcnemar_is_the_exact_binomial_test():
    """Only images on which the networks disagree count."""
    variant = np.array([True] * 10 + [False] * 3 + [True] * 80)
    baseline = np.array([False] * 10 + [True] * 3 + [True] * 80)
    result = compare_disagreements(variant, baseline)
    assert (result.won, result.lost, result.images) == (10, 3, 93)
    assert result.p == pytest.approx(scipy_stats.binomtest(3, 13, 0.5).pvalue)
    assert compare_disagreements(variant, variant).p == 1.0


def test_images_that_the_variant_finds_easier():
    """If the variant is better on some images at every seed, the error is that of choosing these images."""
    images, seeds = 400, 4
    easier = np.arange(images) < 40
    variant = [np.ones(images, dtype=bool)] * seeds
    baseline = [~easier] * seeds
    expected = np.std(easier, ddof=1) / np.sqrt(images)
    assert estimate_image_error(variant, baseline) == pytest.approx(expected)


def test_chance_in_training_is_no_image_error():
    """Networks that err on images drawn anew at each seed have no images of their own; simulated, on average."""
    rng = np.random.default_rng(0)
    images, seeds, errors = 2000, 5, []
    for _ in range(20):
        variant, baseline = ([rng.random(images) < 0.9 for _ in range(seeds)] for _ in range(2))
        errors.append(estimate_image_error(variant, baseline))
    assert np.mean(errors) < 0.3 * np.sqrt(2 * 0.09 / images)


def test_one_seed_cannot_tell_them_apart():
    """There is no image error of a single pair."""
    assert estimate_image_error([np.ones(3, dtype=bool)], [np.ones(3, dtype=bool)]) is None


def test_predictions_are_small_and_come_back(tmp_path):
    """Ten thousand images of ten classes take a byte each at most; damaged files are as none."""
    rng = np.random.default_rng(0)
    predicted, labels = rng.integers(0, 10, (2, 10_000))
    write_predictions(tmp_path, predicted, labels, 10)
    found = read_predictions(tmp_path)
    assert np.array_equal(found.predicted, predicted)
    assert np.array_equal(found.mark_correct(), predicted == labels)
    assert found.predicted.dtype == np.uint8
    assert (tmp_path / PREDICTIONS_FILE).stat().st_size < 20_000
    write_predictions(tmp_path, predicted + 700, labels, 1000)
    assert read_predictions(tmp_path).predicted.dtype == np.uint16
    write_predictions(tmp_path, np.array([255, 256]), np.array([255, 255]), 256)  # 256 is no class of 256
    assert read_predictions(tmp_path).mark_correct().tolist() == [True, False]
    (tmp_path / PREDICTIONS_FILE).write_bytes(b"half a file")
    assert read_predictions(tmp_path) is None


def test_every_damage_of_predictions_is_as_none(tmp_path: Path) -> None:
    """An empty file, one array, compressed data with wrong bytes, an unknown compression, arrays that do not match."""
    path = tmp_path / PREDICTIONS_FILE
    rng = np.random.default_rng(0)
    write_predictions(tmp_path, *rng.integers(0, 10, (2, 1000)), 10)
    whole = path.read_bytes()
    start = whole.index(b"predicted.npy") + 60
    contents = [b"", whole[:start] + bytes(40) + whole[start + 40 :]]
    for method in (1, 99):
        at = whole.index(b"PK\x01\x02") + 10
        contents.append(whole[:at] + bytes([method]) + whole[at + 1 :])
    for content in contents:
        path.write_bytes(content)
        assert read_predictions(tmp_path) is None
    with path.open("wb") as file:
        np.save(file, np.arange(3))
    assert read_predictions(tmp_path) is None
    for labels in (np.arange(2), np.arange(6).reshape(2, 3)):
        np.savez(path, predicted=np.arange(3) if labels.ndim == 1 else labels, labels=labels)
        assert read_predictions(tmp_path) is None
