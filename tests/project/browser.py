"""What a real browser makes of a folder of pages."""

import html
import json
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
HARNESS = """<!doctype html><body><pre id="told"></pre><script>
const pages = %s;
const frame = document.createElement("iframe");
document.body.append(frame);
frame.style.cssText = "border: 0; height: 900px; width: %dpx";
async function ask(page) {
  const loaded = new Promise((done) => (frame.onload = done));
  frame.src = page;
  await loaded;
  await new Promise((done) => setTimeout(done, 50));
  return (%s)(frame.contentDocument);
}
(async () => {
  const told = {};
  for (const page of pages) told[page] = await ask(page);
  document.getElementById("told").textContent = JSON.stringify(told);
})();
</script>"""
"""Shows page after page in a frame of one width, and keeps what a function tells of each."""


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        """Nothing: tests print nothing."""


@contextmanager
def served(folder: Path) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=folder))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def asked(folder: Path, pages: list[str], width: int, function: str, *more: str) -> dict[str, Any]:
    """What a function of JavaScript tells of the document of every page, shown so wide.

    `more`: options of the browser.
    """
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        pytest.skip(f"no browser: none of {', '.join(BROWSERS)}")
    harness = folder / "harness.html"
    harness.write_text(HARNESS % (json.dumps(pages), width, function))
    options = ["--headless=new", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=100000"]
    try:
        with served(folder) as address:
            command = [browser, *options, *more, "--dump-dom", f"{address}/{harness.name}"]
            done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
    finally:
        harness.unlink()
    told = re.search(r'<pre id="told">(.+?)</pre>', done.stdout, re.DOTALL)
    assert told, done.stdout[-2000:]
    found: dict[str, Any] = json.loads(html.unescape(told[1]))
    return found
