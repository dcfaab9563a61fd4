"""The body of a webhook: ``{type, timestamp, data}``, as Standard Webhooks recommends."""

import json
from typing import Any

from touchline_notifier.core.delivery.channel import Message

LARGEST = 20_000
"""Bytes. The specification asks for payloads under 20 kB."""


class TooLargeError(ValueError):
    """A body so large that receivers may reject it."""


def webhook_body(message: Message) -> bytes:
    """UTF-8 JSON, byte for byte the same on every attempt.

    ``data`` is the message's own, with ``customer_id``, and with ``subject``, ``body`` and ``html`` where a play
    rendered them.

    Raises:
        TooLargeError: more than :data:`LARGEST` bytes.
    """
    data: dict[str, Any] = {"customer_id": message.customer_id, **message.data}
    for name, value in (("subject", message.subject), ("body", message.text), ("html", message.html)):
        if value is not None:
            data[name] = value
    envelope = {"type": message.type, "timestamp": message.timestamp, "data": data}
    body = json.dumps(envelope, ensure_ascii=False, separators=(",", ":")).encode()
    if len(body) > LARGEST:
        raise TooLargeError(f"the message is {len(body)} bytes and a webhook carries {LARGEST} at most: shorten it")
    return body
