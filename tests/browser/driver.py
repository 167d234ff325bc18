"""A headless Chromium driven through chromedriver's own protocol (W3C WebDriver), without further packages."""

import base64
import json
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
    "--force-color-profile=srgb",
)  # fmt: skip
PATIENCE_S = 60.0


def missing() -> str:
    """Why there is no browser to drive; empty where there is one."""
    if not shutil.which("chromedriver"):
        return "no chromedriver (Debian: apt-get install chromium chromium-driver)"
    return "" if _browser() else f"none of {', '.join(BROWSERS)}"


def _browser() -> str | None:
    return next((path for name in BROWSERS if (path := shutil.which(name))), None)


class Page:
    """One window of the browser."""

    def __init__(self, session: str) -> None:
        self._session = session

    def open(self, url: str) -> None:
        """Go to an address; returns when the document is loaded, which for an application is not yet its content."""
        _call("POST", f"{self._session}/url", {"url": url})

    def run(self, script: str, *values: Any) -> Any:
        """Run JavaScript (the body of a function of `arguments`); what it returns."""
        return _call("POST", f"{self._session}/execute/sync", {"script": script, "args": list(values)})

    def text(self) -> str:
        """What a reader sees, shadow roots left out."""
        return str(self.run("return document.body ? document.body.innerText : ''"))

    def await_text(self, *wanted: str, patience_s: float = PATIENCE_S) -> str:
        """The text of the page once all of these stand in it. Raises TimeoutError with what stands there instead."""
        until = time.monotonic() + patience_s
        while time.monotonic() < until:
            with suppress(urllib.error.HTTPError):
                text = self.text()
                if all(w in text for w in wanted):
                    return text
            time.sleep(0.3)
        lacking = [w for w in wanted if w not in self.text()]
        raise TimeoutError(f"{lacking} are not on the page, which says:\n{self.text()[:2000]}")

    def click(self, text: str, patience_s: float = 20.0) -> None:
        """Click the innermost thing with exactly this text. Raises TimeoutError where there is none."""
        until = time.monotonic() + patience_s
        while time.monotonic() < until:
            if self.run(CLICK, text):
                return
            time.sleep(0.3)
        raise TimeoutError(f"nothing says '{text}'")

    def await_image(self, width: int, patience_s: float = 30.0) -> int:
        """Pixels across of the widest image that has loaded, once it has `width` of them; else what there is."""
        until, found = time.monotonic() + patience_s, 0
        while found < width and time.monotonic() < until:
            found = int(self.run("return Math.max(0, ...[...document.images].map(i => i.naturalWidth))"))
            time.sleep(0.3)
        return found

    def screenshot(self, path: Path) -> None:
        """Save what is visible as PNG."""
        path.write_bytes(base64.b64decode(_call("GET", f"{self._session}/screenshot")))

    def emulate(self, width: int, height: int, *, dark: bool = False) -> None:
        """Show pages on a screen of so many pixels, also one narrower than any window, in light or dark colours."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
        self._command("Emulation.setDeviceMetricsOverride", size)
        colours = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self._command("Emulation.setEmulatedMedia", {"features": colours})

    def _command(self, name: str, parameters: dict[str, Any]) -> None:
        """Send a command of Chromium's own protocol."""
        _call("POST", f"{self._session}/goog/cdp/execute", {"cmd": name, "params": parameters})


CLICK = """
const found = [...document.querySelectorAll('a, button, [role], label, span, div')]
  .filter(e => e.innerText && e.innerText.trim() === arguments[0] && e.getClientRects().length);
if (!found.length) return false;
found[found.length - 1].scrollIntoView({block: 'center'});
found[found.length - 1].click();
return true;
"""


@contextmanager
def page(width: int = 1400, height: int = 900) -> Iterator[Page]:
    """A fresh window of so many pixels; the browser ends with the block. Ask `missing()` before."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    driver = subprocess.Popen(["chromedriver", f"--port={port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        base = f"http://127.0.0.1:{port}"
        _until_ready(base)
        options = {"binary": _browser(), "args": [*FLAGS, f"--window-size={width},{height}"]}
        wanted = {"capabilities": {"alwaysMatch": {"goog:chromeOptions": options}}}
        session = f"{base}/session/{_call('POST', f'{base}/session', wanted)['sessionId']}"
        try:
            _call("POST", f"{session}/timeouts", {"script": 30_000, "pageLoad": 60_000})
            yield Page(session)
        finally:
            _call("DELETE", session)
    finally:
        driver.terminate()
        driver.wait(10)


def _until_ready(base: str) -> None:
    until = time.monotonic() + 30
    while time.monotonic() < until:
        with suppress(OSError):
            if _call("GET", f"{base}/status")["ready"]:
                return
        time.sleep(0.1)
    raise TimeoutError("chromedriver does not answer")


def _call(method: str, url: str, values: dict[str, Any] | None = None) -> Any:
    data = None if values is None else json.dumps(values).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"}, method=method)
    with urllib.request.urlopen(request, timeout=90) as answer:
        return json.load(answer)["value"]
