"""Named random streams: one seed gives independent random numbers to every part of a run.

A stream depends on the seed, its name and its position only, not on what was drawn before. So two runs with the same
seed share the backbone's weights, the order of the data and every crop and flip, whatever mechanism is in the network
(common random numbers, for paired comparisons).
"""

import hashlib


def derive_seed(seed: int, *name: str | int) -> int:
    """Return the seed (0 to 2^63 - 1) of the stream `name`, for example `derive_seed(0, "augment", epoch, step)`."""
    text = "/".join(str(part) for part in (seed, *name))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1
