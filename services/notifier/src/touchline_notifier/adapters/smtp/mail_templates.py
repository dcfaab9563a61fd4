"""The frame around a play's text in a mail: plain and HTML, each with its unsubscribe link.

Rendered in Jinja2's sandbox with everything escaped: the text inside was written by a play and filled with what a
customer said of themselves.
"""

from jinja2 import DictLoader, StrictUndefined
from jinja2.sandbox import ImmutableSandboxedEnvironment
from markupsafe import Markup, escape

from touchline_notifier.core.delivery.channel import Message
from touchline_notifier.core.texts.languages import choose
from touchline_notifier.core.texts.links import at_end_of_body

_TEMPLATES = {
    "mail.txt": """\
{{ text }}
{% if unsubscribe_url %}
-- 
{{ unsubscribe }}: {{ unsubscribe_url }}
{% endif %}""",  # noqa: W291  ("-- " with its blank is the signature separator of RFC 3676 §4.3)
    "mail.html": """\
<!doctype html>
<html{% if lang %} lang="{{ lang }}"{% endif %}>
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{{ subject }}</title></head>
<body style="font-family: sans-serif; line-height: 1.5; max-width: 40em; margin: 2em auto; padding: 0 1em">
{% if html %}{{ html }}{% else %}{% for paragraph in paragraphs %}
<p>{% for line in paragraph %}{{ line }}{% if not loop.last %}<br>{% endif %}{% endfor %}</p>{% endfor %}{% endif %}
{% if unsubscribe_url %}
<p style="color: #666; font-size: small"><a href="{{ unsubscribe_url }}">{{ unsubscribe }}</a></p>
{% endif %}
</body>
</html>
""",
}
_PIXEL = Markup('<img src="{}" width="1" height="1" alt="" style="border: 0">')
_UNSUBSCRIBE = {
    "en": "Unsubscribe",
    "de": "Abmelden",
    "fr": "Se désabonner",
    "es": "Darse de baja",
    "it": "Annulla l'iscrizione",
    "nl": "Afmelden",
    "pt": "Cancelar a subscrição",
}


class MailTemplates:
    """Renders both parts of a mail."""

    def __init__(self) -> None:
        self._environment = ImmutableSandboxedEnvironment(
            loader=DictLoader(_TEMPLATES),
            autoescape=lambda name: bool(name and name.endswith(".html")),
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )

    def text(self, message: Message) -> str:
        """The plain part: the play's text, and the unsubscribe address, unless it was made from HTML that has it."""
        text = (message.text or "").strip()
        is_there = f"<{message.unsubscribe_url}>" in text
        return self._environment.get_template("mail.txt").render(
            text=text,
            unsubscribe_url=None if is_there else message.unsubscribe_url,
            unsubscribe=_unsubscribe(message),
        )

    def html(self, message: Message) -> str:
        """The HTML part: the play's own HTML in our frame, or its text in paragraphs.

        A tracked one ends with its pixel.
        A play that renders a whole page (it has ``<html``) keeps its own frame, and its own unsubscribe link.
        """
        page = self._page(message)
        return (
            page if message.pixel_url is None else at_end_of_body(page, str(_PIXEL.format(escape(message.pixel_url))))
        )

    def _page(self, message: Message) -> str:
        if message.html and "<html" in message.html.lower():
            return message.html
        paragraphs = [block.splitlines() for block in (message.text or "").strip().split("\n\n") if block.strip()]
        return self._environment.get_template("mail.html").render(
            subject=message.subject or "",
            html=Markup(message.html) if message.html else "",  # noqa: S704  (the play's author wrote it, escaped when rendered)
            paragraphs=paragraphs,
            unsubscribe_url=message.unsubscribe_url,
            unsubscribe=_unsubscribe(message),
            lang=message.locale,
        )


def _unsubscribe(message: Message) -> str:
    """The word, in the language of the texts."""
    found = choose([message.locale or ""], _UNSUBSCRIBE)
    return _UNSUBSCRIBE[found[0] if found else "en"]
