"""The collections of others, as data."""

import pytest

from attncli import attention
from attncli.errors import UserError
from attncli.literature.peers import find_peer, find_peers_with, load_peers


def test_what_peers_have_are_mechanisms_of_ours() -> None:
    """Each name is known, none stands twice, and what differs is among what a peer has."""
    known = set(attention.mechanism_names())
    for peer in load_peers():
        assert set(peer.mechanisms) <= known, peer.name
        assert len(set(peer.mechanisms)) == len(peer.mechanisms), peer.name
        assert peer.differs.keys() <= set(peer.mechanisms), peer.name
    assert len({peer.name for peer in load_peers()}) == len(load_peers())


def test_peers_of_a_mechanism() -> None:
    """Found by mechanism and by name; an unknown name gets the nearest."""
    assert {"timm", "mmcv", "yoloair"} <= {peer.name for peer in find_peers_with("gc")}
    assert "gc" in find_peer("timm").differs
    with pytest.raises(UserError) as unknown:
        find_peer("tim")
    assert "timm" in unknown.value.hint
