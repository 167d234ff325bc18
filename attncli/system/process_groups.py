"""End this process, or a process with all that it started, on POSIX systems and on Windows."""

import os
import signal
from contextlib import suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # every command imports this file, and few start a process
    import subprocess

CREATE_NEW_PROCESS_GROUP = 0x200  # as in Windows' API; `subprocess` has this name only on Windows
# Options of Popen by which a Ctrl-C in the terminal does not reach the new process.
OWN_GROUP: dict[str, Any] = (
    {"start_new_session": True} if os.name == "posix" else {"creationflags": CREATE_NEW_PROCESS_GROUP}
)


def interrupt_self() -> None:
    """Send SIGTERM to this process, so that its handler runs in the main thread.

    On Windows `os.kill` would end the process at once.
    """
    if os.name == "posix":
        os.kill(os.getpid(), signal.SIGTERM)
    else:
        signal.raise_signal(signal.SIGTERM)


def stop_process_tree(process: "subprocess.Popen[bytes]", timeout: float) -> None:
    """End a process and all that it started; kill what is left after `timeout` seconds."""
    import subprocess

    import psutil

    with suppress(psutil.NoSuchProcess):
        parent = psutil.Process(process.pid)
        members = [*parent.children(recursive=True), parent]
        for member in members:
            with suppress(psutil.NoSuchProcess):
                member.terminate()
        _, alive = psutil.wait_procs(members, timeout)
        for member in alive:
            with suppress(psutil.NoSuchProcess):
                member.kill()
    with suppress(subprocess.TimeoutExpired):
        process.wait(timeout)
