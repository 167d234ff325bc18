"""What a user hears before a run trains."""

import pytest

from attncli.run.preconditions import describe_busy_cores


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
