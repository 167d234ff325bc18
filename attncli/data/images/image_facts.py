"""What is known about images besides their pixels: the digests of their files, and how many have which trait."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

HASH_BYTES = 8  # of each file's digest


@dataclass
class ImageFacts:
    """Digests of the contents of files, in their order, and how many files have a trait, with the first of each."""

    hashes: bytes = b""  # HASH_BYTES per file
    counts: dict[str, int] = field(default_factory=dict)
    examples: dict[str, str] = field(default_factory=dict)

    def add_file(self, path: str, content: bytes, traits: Iterable[str]) -> None:
        """Add the next file."""
        self.hashes += hash_content(content)
        self.count_traits(path, traits)

    def count_traits(self, path: str, traits: Iterable[str]) -> None:
        """Count the traits of a file."""
        for trait in traits:
            self.counts[trait] = self.counts.get(trait, 0) + 1
            self.examples.setdefault(trait, path)

    def to_json_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {"hashes": self.hashes.hex(), "counts": self.counts, "examples": self.examples}


def hash_content(content: bytes) -> bytes:
    """Return a short digest of the content of a file."""
    return hashlib.blake2b(content, digest_size=HASH_BYTES).digest()


def parse_facts(values: dict[str, Any]) -> ImageFacts:
    """Return the facts of `ImageFacts.to_json_dict`. Raises KeyError or ValueError for other values."""
    return ImageFacts(bytes.fromhex(values["hashes"]), dict(values["counts"]), dict(values["examples"]))


def join_facts(parts: Sequence[ImageFacts]) -> ImageFacts:
    """Return the facts of several lists of files, one after the other."""
    facts = ImageFacts(b"".join(part.hashes for part in parts))
    for part in parts:
        for trait, count in part.counts.items():
            facts.counts[trait] = facts.counts.get(trait, 0) + count
            facts.examples.setdefault(trait, part.examples[trait])
    return facts
