"""The HTML report: one file, no script, nothing loaded; a pure function of the JSON twin."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup

from . import text
from .twin import REDACTED_NAME, TWIN_NAME, plain
from .views import case_view

_HERE = Path(__file__).parent


def render_html(case: Mapping[str, Any], root: Path) -> str:
    """The report of a case as one self-contained HTML text.

    Args:
        case: the JSON twin, as read from ``report.json`` or made by `plain` or `redact`. A
            redacted one gives a page without any image, plots included.
        root: the case folder, below which picture files lie.
    """
    redacted = case.get("redacted") is True
    return render_page(
        "template.html",
        case_view(plain(case), root),
        images=not redacted,
        twin_name=REDACTED_NAME if redacted else TWIN_NAME,
        redacted=redacted,
    )


def render_page(name: str, view: Mapping[str, Any], *, images: bool = True, **more: Any) -> str:
    """A page of one of the templates here, with the one inline style and its policy.

    Args:
        name: of the template.
        view: what it shows; every text is escaped and cleaned.
        images: whether the page may hold data images.
        more: further values.
    """
    css = _style()
    policy = content_policy(css, images=images)
    return _template(name).render(css=Markup(css), csp=policy, **more, **view)


def content_policy(css: str, *, images: bool = True) -> str:
    """The page's Content-Security-Policy: data images and the one inline style, nothing else."""
    digest = base64.b64encode(hashlib.sha256(css.encode()).digest()).decode("ascii")
    return (
        f"default-src 'none'; {'img-src data:; ' if images else ''}style-src 'sha256-{digest}'; "
        "base-uri 'none'; form-action 'none'"
    )


@cache
def _style() -> str:
    return (_HERE / "style.css").read_text(encoding="utf-8")


@cache
def _template(name: str) -> Template:
    environment = Environment(
        loader=FileSystemLoader(_HERE),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=text.finalize,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(text.FILTERS)
    environment.globals.update(text.GLOBALS)
    return environment.get_template(name)
