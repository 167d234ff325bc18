"""Collections of attention blocks by others: which of our mechanisms each has, and where its port differs."""

from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from attncli.errors import unknown_name_error
from attncli.recipe import parse_yaml

PEERS_FILE = Path(__file__).parent / "data" / "peers.yaml"


@dataclass(frozen=True)
class Peer:
    """A collection: its short name, "owner/repository@commit", our names of what it has, and how ports differ."""

    name: str
    repository: str
    mechanisms: tuple[str, ...]
    differs: dict[str, str] = field(default_factory=dict)  # mechanism -> in what


@cache
def load_peers() -> tuple[Peer, ...]:
    """Return all collections in the order of the file."""
    entries = parse_yaml(PEERS_FILE.read_text(encoding="utf-8"))
    return tuple(Peer(**entry | {"mechanisms": tuple(entry["mechanisms"])}) for entry in entries)


def find_peer(name: str) -> Peer:
    """Return the collection `name`. Raises UserError for an unknown one, with the nearest known one."""
    peers = {peer.name: peer for peer in load_peers()}
    if name not in peers:
        raise unknown_name_error("peer", name, peers)
    return peers[name]


def find_peers_with(mechanism: str) -> list[Peer]:
    """Return the collections that have a mechanism."""
    return [peer for peer in load_peers() if mechanism in peer.mechanisms]
