"""The editor of a play: its text, checks, comparison, preview, a test message, publication and the switch."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from touchline_console.application.parts import Part, part, parts
from touchline_console.application.ports import NotFound, Rejected, Services
from touchline_console.application.titles import Titles

_NEW = """\
play: {name}
title: {title}
when: {{fact: customer-stalled, lifecycle: {lifecycle}}}
action:
  channel: webhook
  subject: "Call {{{{ customer_id }}}}"
  body: "Nothing was heard of {{{{ customer_id }}}} for a while."
limits:
  per_customer: {{count: 1, within: 7d}}
  max_age: 24h
"""
_PREVIEW_SECONDS = 30.0
"""A notifier ends a preview before."""
_TEST_SECONDS = 25.0
SHOWN = 20


@dataclass(frozen=True)
class PlayDraft:
    """What the form of the editor holds. ``base``: the version that it was made from; 0: none was in force."""

    text: str
    base: int
    comment: str = ""


def _path(name: str, *steps: str) -> str:
    return "/".join(["/v1/plays", quote(name, safe=""), *steps])


async def editor(services: Services, name: str, version: int | None) -> dict[str, Any]:
    """What the editor shows at first: the text in force, an earlier version's, or that of a new play."""
    notifier = services.notifier
    found = await part(notifier.get(_path(name)))
    versions = await part(notifier.get(_path(name, "versions"), limit=200))
    if isinstance(found.fault, NotFound):
        lifecycles = (await part(services.engine.get("/v1/lifecycles"))).items
        title = name.replace("-", " ").capitalize()
        text = _NEW.format(name=name, title=title, lifecycle=lifecycles[0]["name"] if lifecycles else "service-cycle")
        play: dict[str, Any] = {
            "play": name, "title": title, "version": 0, "managed_by": "api", "running": False, "switched_on": True,
        }  # fmt: skip
    elif found.value is None:
        assert found.fault is not None
        raise found.fault
    else:
        play = found.value | {"version": found.value["version"] or 0, "running": True}
        text = found.value["text"] or ""
    if version is not None and version != play["version"]:
        text = (await notifier.get(_path(name, "versions", str(version))))["definition"]
    draft = PlayDraft(text, play["version"])
    return {"play": play, "versions": versions.items, "draft": draft, "from_version": version}


async def checked(services: Services, name: str, text: str) -> dict[str, Any]:
    """Errors and warnings of a text with their lines; its texts for customers of today, and what it changes."""
    found = await part(services.notifier.send("POST", "/v1/plays/check", {"definition": text}))
    compared: Part[Any] | None = None
    if found.get("ok"):
        compared = await part(services.notifier.send("POST", _path(name, "differences"), {"definition": text}))
    return {"checked": found, "compared": compared}


async def preview(services: Services, name: str, text: str, days: int, *, ignore_backfill: bool) -> dict[str, Any]:
    """What a draft would have done over the last days."""
    body = {"definition": text, "days": days, "ignore_backfill": ignore_backfill, "limit": SHOWN}
    found = await parts(
        preview=services.notifier.send("POST", _path(name, "previews"), body, seconds=_PREVIEW_SECONDS),
        lifecycles=services.engine.get("/v1/lifecycles"),
    )
    items = found["preview"].items
    return {
        "preview": found["preview"],
        "titles": Titles(found["lifecycles"].items),
        "sent": [one for one in items if one["outcome"] == "would_be_sent"],
        "others": [one for one in items if one["outcome"] != "would_be_sent"],
    }


async def send_test(
    services: Services, name: str, text: str, to: str | None, customer_id: str | None, locale: str | None
) -> dict[str, Any]:
    """Send a message of a draft to oneself; how it ended."""
    body = {"definition": text, "to": to, "customer_id": customer_id, "locale": locale}
    given = {key: value for key, value in body.items() if value is not None}
    return {"test": await part(services.notifier.send("POST", _path(name, "test"), given, seconds=_TEST_SECONDS))}


async def publish(services: Services, name: str, draft: PlayDraft) -> int:
    """Publish a draft; its version.

    Raises:
        Rejected: it is wrong, or another version is in force than its base.
    """
    body = {"definition": draft.text, "base": draft.base, "comment": draft.comment}
    published: Mapping[str, Any] = await services.notifier.send("PUT", _path(name), body)
    return int(published["version"])


async def why_not(services: Services, name: str, draft: PlayDraft, error: Rejected) -> dict[str, Any]:
    """What the editor shows after a refused publication: the text is kept, and compared with what is in force now."""
    shown = await editor(services, name, None)
    return shown | {
        "draft": draft,
        "refused": error.detail,
        "conflict": error.status == 409,
        "in_force": shown["play"]["version"],
    }


async def switch(services: Services, name: str, *, on: bool, reason: str | None) -> None:
    """Switch a published play on or off."""
    await services.notifier.send("PUT", _path(name, "switch"), {"enabled": on, "reason": reason})
