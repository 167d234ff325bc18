"""Streams that cannot encode what is printed, such as a pipe on Windows."""

import io
import sys

import pytest

from attncli.__main__ import main
from attncli.system.output_encoding import tolerate_unencodable_text


def make_stream(encoding: str, errors: str = "strict") -> io.TextIOWrapper:
    """A stream of bytes in memory."""
    return io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors=errors)


def read_bytes(stream: io.TextIOWrapper) -> bytes:
    """What has been written to it."""
    stream.flush()
    written = stream.buffer
    assert isinstance(written, io.BytesIO)
    return written.getvalue()


def test_question_marks_in_place_of_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    """The encoding stays unless another is asked for; a stream that has its own way with errors keeps it."""
    out, err = make_stream("cp1252"), make_stream("ascii", "backslashreplace")
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", err)
    tolerate_unencodable_text()
    for stream in (out, err):
        print("\u732b \xe9", file=stream, end="")
    assert (read_bytes(out), read_bytes(err)) == (b"? \xe9", b"\\u732b \\xe9")
    tolerate_unencodable_text("utf-8")
    print("\u732b", end="")
    assert read_bytes(out) == b"? \xe9\xe7\x8c\xab"
    monkeypatch.setattr(sys, "stdout", io.StringIO())  # not a stream of bytes
    tolerate_unencodable_text()


def test_names_that_cannot_be_printed_end_no_command(monkeypatch: pytest.MonkeyPatch) -> None:
    """A command prints them as far as it can, with the exit code that it has anywhere."""
    err = make_stream("cp1252")
    monkeypatch.setattr(sys, "stderr", err)
    monkeypatch.setattr(sys, "argv", ["attncli", "run", "--attn", "\u732b"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert read_bytes(err).splitlines()[0].endswith(b"'?'")
