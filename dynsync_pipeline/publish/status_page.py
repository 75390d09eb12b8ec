"""`status.html` and other pages: one fixed shell with styles, charts and figures in it, which needs no network.

The charts are Observable Plot's on d3, as their makers ship them (`page/LICENSES.txt`). Not here: the figures
(`figures.py`), what the pages look like (`page/`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from html import escape
from importlib.resources import files
from string import Template
from typing import Any

_CHARTS = ("d3.min.js", "plot.umd.min.js")


def status_page(figures: Mapping[str, Any]) -> str:
    """The page of the whole sync, drawn of the figures of `status.json`."""
    return page("DynSync", figures, (*_CHARTS, "dom.js", "status.js"))


def page(title: str, figures: Mapping[str, Any], scripts: tuple[str, ...]) -> str:
    """The shell with these scripts of `page/`, which find `figures` as JSON in it."""
    # Nothing in the figures can end the element that they stand in.
    told = json.dumps(figures, ensure_ascii=False, default=str).replace("<", "\\u003c")
    return Template(_part("shell.html")).substitute(
        title=escape(title),
        style=_part("style.css"),
        figures=told,
        scripts="\n".join(f"<script>\n{_part(name)}</script>" for name in scripts),
    )


def _part(name: str) -> str:
    return files("dynsync_pipeline.publish").joinpath("page", name).read_text("utf-8")
