"""The tests that decide claims: which there are, and the commit that wrote each last (`make generate` lists them)."""

import json
from functools import cache
from pathlib import Path

TABLE = Path(__file__).parent / "data" / "claim-tests.json"


@cache
def load_claim_tests() -> dict[str, str]:
    """Return the commit of every test that a claim names, by the test's name, such as tests/a.py::test_b."""
    return dict(json.loads(TABLE.read_text(encoding="utf-8")))
