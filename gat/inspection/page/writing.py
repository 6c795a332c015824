"""A page as one HTML file: the template with its style, scripts and contents put in.

Each kind of page has a template, which extends base.html.j2, and scripts; all of them have
common.js and page.css. A content security policy lets run these scripts alone, and load nothing.
"""

import base64
import hashlib
import json
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from gat.checks import one_of
from gat.errors import IndexRangeError
from gat.inspection.files import write_whole
from gat.inspection.record import AttentionRecord

__all__ = ["start_at", "write_html"]

# What could end the script element that the contents stand in.
ESCAPED = {ord(c): f"\\u{ord(c):04x}" for c in "<>&"}


def write_html(
    path: Path,
    template: str,
    title: str,
    document: dict[str, Any],
    scripts: Sequence[str],
    styles: Sequence[str] = ("page.css",),
    licences: Sequence[str] = (),
) -> Path:
    """Write the page to ``path``, whole or not at all, and return it.

    template, scripts, styles: names of files beside this one, scripts in an order in which each
    uses what those before it define; licences: those that ask to go with every copy.
    """
    from jinja2 import Environment, FunctionLoader, StrictUndefined

    style = "".join(map(_read, styles))
    code = [_read(name) for name in scripts]
    environment = Environment(
        loader=FunctionLoader(_read), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    html = environment.get_template(template).render(
        title=title,
        document=document,
        data=json.dumps(document, allow_nan=False).translate(ESCAPED),
        licences=[_read(name) for name in licences],
        style=style,
        scripts=code,
        style_hash=_hash(style),
        script_hashes=[_hash(script) for script in code],
    )
    write_whole(path, html.encode("utf-8", "replace"))
    return path


def start_at(
    records: Sequence[AttentionRecord], layer: str | None, head: int | None
) -> dict[str, Any]:
    """The layer and head shown first, by their places; by default the first and the mean."""
    names = [record.name for record in records]
    place = 0 if layer is None else names.index(one_of("layer", layer, names))
    heads = records[place].heads
    if head is not None and head not in heads:
        raise IndexRangeError(
            f"{names[place]} has no record of head {head}; recorded are heads "
            f"{', '.join(map(str, heads))}"
        )
    return {"layer": place, "head": "mean" if head is None else heads.index(head)}


def _read(name: str) -> str:
    return files("gat.inspection.page").joinpath(*name.split("/")).read_text("utf-8")


def _hash(text: str) -> str:
    """As a content security policy names the one script or style it lets run."""
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    return f"'sha256-{digest}'"
