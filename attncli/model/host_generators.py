"""The random generators of Python and NumPy, from which files of the user's and other packages may draw.

attncli itself draws from torch only. Without these seeds a network that skips blocks by `random.random()`, or whose
weights come from `numpy.random`, would be another one in each run of the same recipe.
"""

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


def seed_host_generators(seed: int) -> None:
    """Seed the generators of Python and NumPy."""
    random.seed(seed)
    np.random.seed(seed % 2**32)


@contextmanager
def seeded_generators(seed: int) -> Iterator[None]:
    """Seed the generators of Python, NumPy and torch (CPU) within a `with` block, and restore them after it."""
    python_state, numpy_state = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        seed_host_generators(seed)
        try:
            yield
        finally:
            random.setstate(python_state)
            np.random.set_state(numpy_state)
