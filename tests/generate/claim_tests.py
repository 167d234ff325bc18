"""Generate the table of the tests that decide claims, each with the commit that changed its file last."""

import ast
import json
import subprocess

from attncli.claims.claim_files import load_claims
from attncli.literature.claim_tests import TABLE
from tests.shared import ROOT


def list_tests() -> list[str]:
    """Return the tests that claims name and that exist, sorted."""
    names = {claim.test for claim in load_claims() if claim.test}
    return sorted(name for name in names if _has_function(*name.split("::")))


def _has_function(file: str, name: str) -> bool:
    path = ROOT / file
    if not path.is_file():
        return False
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return any(isinstance(node, ast.FunctionDef) and node.name == name for node in tree.body)


def write_table() -> None:
    """Write the table."""
    table = {name: _find_commit(name.partition("::")[0]) for name in list_tests()}
    TABLE.write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")


def _find_commit(file: str) -> str:
    command = ["git", "log", "-1", "--format=%h", "--abbrev=10", "--", file]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
