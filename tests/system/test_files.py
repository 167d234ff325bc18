"""The one atomic write: a reader sees the old file or the new one."""

from pathlib import Path

import pytest

from attncli.errors import UserError
from attncli.system import files
from attncli.system.files import check_writable, expand_user_path, write_atomically, written_aside


@pytest.mark.parametrize("content", ["two\nlines, ü\n", b"\x00\xff\r\n"])
def test_content_is_written_as_it_is(tmp_path: Path, content: str | bytes) -> None:
    """Text is UTF-8 with its own line ends, bytes are unchanged, and no temporary file is left."""
    path = tmp_path / "x"
    path.write_text("old")
    write_atomically(path, content)
    assert path.read_bytes() == (content.encode() if isinstance(content, str) else content)
    assert [entry.name for entry in tmp_path.iterdir()] == ["x"]


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the disk fails before the rename, the file keeps its old content."""
    path = tmp_path / "x"
    path.write_text("old")

    def fail(descriptor: int) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(files.os, "fsync", fail)
    with pytest.raises(OSError, match="disk full"):
        write_atomically(path, "new")
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["x"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_half_a_file_is_never_seen(tmp_path: Path, error: type[BaseException]) -> None:
    """A program that is ended while it writes leaves the old file, and no temporary one."""
    path = tmp_path / "x.png"
    path.write_text("old")

    def write_half() -> None:
        with written_aside(path) as temporary:
            temporary.write_text("half")
            assert path.read_text() == "old"
            raise error

    with pytest.raises(error):
        write_half()
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["x.png"]


def test_two_writers_do_not_share_a_temporary_file(tmp_path: Path) -> None:
    """Processes of two machines may have the same number: the last one to end its file wins, and none is mixed."""
    path = tmp_path / "x.json"
    with written_aside(path) as first:
        first.write_text("the first, longer than the second")
        with written_aside(path) as second:
            second.write_text("the second")
        assert path.read_text() == "the second"
        assert first.read_text() == "the first, longer than the second"
    assert path.read_text() == "the first, longer than the second"
    assert [entry.name for entry in tmp_path.iterdir()] == ["x.json"]


@pytest.mark.parametrize("text", ["s3://bucket/x", "https:/example.org/x.zip", "gs://b"])
def test_an_address_is_no_path(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would become a new folder `s3:` here; a folder that really has such a name is taken."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"--runs: .*an address"):
        expand_user_path(text, "--runs")
    Path(text).mkdir(parents=True)
    assert expand_user_path(text, "--runs") == Path(text)
    assert expand_user_path("C:/x", "--runs") == Path("C:/x")


def test_a_place_that_cannot_be_written_is_known_before(tmp_path: Path) -> None:
    """A report takes minutes: a file in place of its folder ends it at once."""
    (tmp_path / "file").touch()
    check_writable(tmp_path / "new" / "deep" / "report.html")
    with pytest.raises(UserError, match="the folder cannot be written"):
        check_writable(tmp_path / "file" / "report.html")


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="there is no /proc")
def test_a_folder_that_takes_no_files_is_known_before() -> None:
    """Nobody can make a file in /proc, root included, though its rights say so."""
    with pytest.raises(UserError, match="the folder cannot be written"):
        check_writable(Path("/proc/report.html"))
