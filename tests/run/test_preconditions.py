"""What a user hears before a run trains."""

import pytest

from attncli import recipe
from attncli.run.preconditions import describe_busy_cores, list_few_image_warnings


@pytest.mark.parametrize(
    ("busy", "cores", "threads", "advised"),
    [
        (0.0, 2, 2, None),
        (0.4, 2, 2, None),  # a desktop
        (1.0, 2, 2, 1),
        (3.9, 16, 16, 12),
        (3.9, 16, 12, None),  # as many as are free
        (2.0, 2, 2, 1),
        (2.0, 2, 1, None),  # there are no fewer threads than one
        (40.0, 16, 16, 1),
    ],
)
def test_fewer_threads_are_advised_if_others_keep_cores_busy(
    busy: float, cores: int, threads: int, advised: int | None
) -> None:
    """As many as there are free cores."""
    line = describe_busy_cores(busy, cores, threads)
    assert (f"OMP_NUM_THREADS={advised} " in line) if advised else line == ""


@pytest.mark.parametrize(
    ("values", "images", "words"),
    [
        ({"data.fraction": 0.0001}, 10, "data.fraction=0.0001 leaves 10 training images, fewer than a batch"),
        ({"data.per_class": 1}, 1, "data.per_class=1 leaves 1 training image, fewer"),
        ({"train.batch_size": 64}, 63, "63 training images, fewer than a batch (train.batch_size=64)"),
        ({"train.batch_size": 64, "data.fraction": 0.5}, 64, None),
    ],
)
def test_fewer_images_than_a_batch_are_told(values: dict[str, float], images: int, words: str | None) -> None:
    """With the key that leaves so few."""
    warnings = list_few_image_warnings(recipe.read(values=values), images)
    assert [words in warning for warning in warnings] == ([True] if words else [])
