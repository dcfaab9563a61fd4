"""What export pages share: a Jinja template with the head and the style, and values as text."""

from typing import Any, Final

import orjson

TEMPLATES: Final = ("touchline_runtime.exports", "templates")
"""Package and folder of ``export_page.html``, which export pages extend; the arguments of Jinja's PackageLoader."""


def pretty(value: Any) -> str:
    """A value as indented JSON."""
    return orjson.dumps(value, option=orjson.OPT_INDENT_2, default=str).decode()
