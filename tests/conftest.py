"""What holds for all tests."""

import signal


def pytest_configure() -> None:
    """Ctrl-C interrupts, even where the tests were started in the background of a script, which ignores it."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
