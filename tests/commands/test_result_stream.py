"""Facts of `--json` and `--format csv`: stdout holds the result and nothing else, whatever is printed, and by whom."""

import json
import subprocess
import sys

import pytest

from tests.shared import ROOT

COMMAND = """
import contextlib, ctypes, os, subprocess, sys
import click
from attncli.commands._output import echo_json, json_option, reserve_stdout_for_data

@click.command()
@json_option
@click.option("--format", callback=reserve_stdout_for_data)
def command(as_json, format):
    print("a mechanism prints")
    sys.__stdout__.write("a mechanism writes\\n")
    with contextlib.suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).printf(b"a C library keeps it\\n")
    os.write(1, b"a library prints\\n")
    subprocess.run([sys.executable, "-c", "print('a child prints')"], check=True)
    echo_json({"as_json": as_json})
    print("a mechanism prints at the end")

try:
    command.main(sys.argv[1:], standalone_mode=False)
finally:
    print("after")
"""


def call(*words):
    """What a process with the command above prints."""
    return subprocess.run([sys.executable, "-c", COMMAND, *words], capture_output=True, text=True, cwd=ROOT, check=True)


@pytest.mark.parametrize("words", [("--json",), ("--format", "csv"), ("--json", "--format", "csv")])
def test_the_result_stands_alone_on_stdout(words):
    """Prints of Python, of libraries and of child processes go to stderr, until the command ends, kept ones too."""
    ended = call(*words)
    text, after = ended.stdout.rsplit("\n", 2)[0], ended.stdout.splitlines()[-1]
    assert json.loads(text) == {"as_json": "--json" in words}
    assert after == "after"
    assert {
        "a mechanism prints", "a mechanism writes", "a library prints", "a child prints",
        "a mechanism prints at the end",
    } <= set(ended.stderr.splitlines())  # fmt: skip


def test_tables_for_readers_hold_back_nothing():
    """Without such an option nothing is led elsewhere."""
    ended = call("--format", "table")
    assert {"a child prints", "a library prints", "a mechanism prints"} <= set(ended.stdout.splitlines())
    assert ended.stderr == ""
