"""Facts of `--json`: stdout holds one JSON value and nothing else, whatever else is printed, and by whom."""

import json
import subprocess
import sys

from tests.shared import ROOT

COMMAND = """
import os, subprocess, sys
import click
from attncli.commands._options import echo_json, json_option

@click.command()
@json_option
def command(as_json):
    print("a mechanism prints")
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


def test_json_stands_alone_on_stdout():
    """Prints of Python, of libraries and of child processes go to stderr, until the command ends."""
    ended = call("--json")
    text, after = ended.stdout.rsplit("\n", 2)[0], ended.stdout.splitlines()[-1]
    assert json.loads(text) == {"as_json": True}
    assert after == "after"
    assert ended.stderr.splitlines() == [
        "a mechanism prints", "a library prints", "a child prints", "a mechanism prints at the end",
    ]  # fmt: skip


def test_without_json_all_is_printed():
    """Without the option nothing is led elsewhere."""
    ended = call()
    assert {"a child prints", "a library prints", "a mechanism prints"} <= set(ended.stdout.splitlines())
    assert ended.stderr == ""
