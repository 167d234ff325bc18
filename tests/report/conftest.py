"""What tests of figures share."""

import pytest

from attncli.report import style


@pytest.fixture
def drawn(monkeypatch):
    """The figures made, to look into."""
    found = []
    plain = style.Figure

    def keep(*args, **kwargs):
        found.append(plain(*args, **kwargs))
        return found[-1]

    monkeypatch.setattr(style, "Figure", keep)
    return found
