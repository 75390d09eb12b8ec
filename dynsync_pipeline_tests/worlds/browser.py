"""Debian's Chromium without a screen, to look at a page as people see it. Not here: which pages (`publish/test_pages.py`)."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

_LONGEST_S = 240
# What the browser finds of a page that has drawn itself: wider than the screen, without a name for who does not see it.
_PROBE = """
<script>
addEventListener("load", () => setTimeout(() => {
  const named = (each) => (each.getAttribute("aria-label") || each.textContent || "").trim();
  const labelled = (each) => document.getElementById(each.getAttribute("aria-labelledby"))?.textContent || named(each);
  top.document.body.dataset.found = JSON.stringify({
    width: innerWidth,
    overflow: document.documentElement.scrollWidth - document.documentElement.clientWidth,
    nameless: [...document.querySelectorAll("svg:not([aria-hidden]), meter, a, summary, [role=region], section, th")]
      .filter((each) => !labelled(each)).map((each) => each.outerHTML.slice(0, 80)),
    drawn: [...document.querySelectorAll("svg[role=img]")].map((each) => each.getAttribute("aria-label")),
    links: [...document.querySelectorAll("a")].map((each) => each.href),
    ground: getComputedStyle(document.body).backgroundColor,
    frames: [...document.querySelectorAll("iframe")].map((each) => each.contentDocument.getElementById("page").innerText),
    text: document.getElementById("page").innerText,
  });
}, 50));
</script>
"""
# A window is 500 pixels wide at least; a frame in it may be as narrow as a phone.
_FRAME = """<!doctype html><meta charset="utf-8"><meta name="color-scheme" content="light dark"><body>
<iframe style="width: {width}px; height: 900px; border: 0" srcdoc="{page}"></iframe></body>"""


@dataclass(frozen=True)
class Seen:
    """A page as the browser drew it: what its console said, and what the probe found."""

    console: list[str]
    found: dict[str, Any]


def look_at(page: str, folder: Path, *, width: int = 1200, is_dark: bool = False) -> Seen:
    """Open a page from a file. Skips the test where there is no Chromium."""
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("Chromium is not installed, and the pages were not looked at: apt-get install chromium")
    file = folder / "page.html"
    file.write_text(_FRAME.format(width=width, page=html.escape(page.replace("</body>", f"{_PROBE}</body>"))), "utf-8")
    arguments = [
        "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
        "--disable-background-networking", "--disable-component-update", "--enable-logging=stderr",
        f"--user-data-dir={folder / 'profile'}", "--window-size=1400,1000", "--virtual-time-budget=2000",
        *(["--blink-settings=preferredColorScheme=0"] if is_dark else []), "--dump-dom", file.as_uri(),
    ]  # fmt: skip
    ran = subprocess.run([chromium, *arguments], capture_output=True, text=True, timeout=_LONGEST_S, check=True)
    found = re.search(r'data-found="([^"]*)"', ran.stdout)
    assert found, "the page drew nothing"
    console = [line for line in ran.stderr.splitlines() if "CONSOLE" in line]
    return Seen(console, json.loads(html.unescape(found[1])))
