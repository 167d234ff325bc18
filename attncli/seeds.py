"""Named random streams: one seed gives independent, order-free numbers to every part of a run.

Common random numbers (design of paired comparisons): because each stream depends on the seed, its name and
its position only, never on what was drawn before, two runs of one seed share the backbone's weights, the
order of the data and every crop and flip, whatever mechanism sits in the network.
"""

import hashlib


def derive_seed(seed: int, *name: str | int) -> int:
    """The seed (0 to 2^63 - 1) of the stream `name`, for example `derive_seed(0, "augment", epoch, step)`."""
    text = "/".join(str(part) for part in (seed, *name))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1
