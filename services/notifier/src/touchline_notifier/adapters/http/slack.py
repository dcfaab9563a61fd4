"""The Slack channel: an incoming webhook. Its URL is the secret."""

import json
from collections.abc import Sequence
from datetime import datetime

from touchline_notifier.adapters.http.guarded_client import CantSendError, CantWriteError, GuardedHttp
from touchline_notifier.adapters.http.webhook import check_url
from touchline_notifier.core.delivery.channel import Attempt, Delivery, EndpointGone, GaveUp, Message, Retry
from touchline_notifier.core.delivery.endpoints import Endpoint
from touchline_notifier.core.delivery.http_status import judge

# https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks/ "Handling errors"
_GONE = ("no_service", "no_team", "channel_not_found", "channel_is_archived", "invalid_token")
_REFUSED = ("invalid_payload", "no_text", "too_many_attachments", "invalid_blocks")
_LONGEST_TEXT = 4000


class SlackChannel:
    """Messages to a channel of the company."""

    name = "slack"
    needs_address = False

    def __init__(self, http: GuardedHttp) -> None:
        self._http = http

    def check(self, endpoint: Endpoint) -> Sequence[str]:
        """What is wrong with an endpoint: it needs the incoming webhook's URL."""
        return check_url(endpoint)

    async def send(self, delivery: Delivery, endpoint: Endpoint, now: datetime) -> Attempt:
        """Post the message once. Slack has no message ids: a repetition after a lost answer cannot be recognised."""
        if endpoint.url is None:
            return Retry("the endpoint has no url")
        body = json.dumps({"text": slack_text(delivery.message)}, ensure_ascii=False).encode()
        try:
            answer = await self._http.post(
                endpoint.name,
                endpoint.url.get_secret_value(),
                body,
                {**endpoint.headers, "content-type": "application/json"},
                timeout_seconds=endpoint.timeout_seconds,
            )
        except CantWriteError as error:
            return GaveUp(str(error))
        except CantSendError as error:
            return Retry(str(error))
        excerpt = answer.beginning.strip()
        if answer.status in (403, 404, 410) and excerpt in _GONE:
            return EndpointGone(f"answered {answer.status}: {excerpt}", answer.status)  # one of the words above
        if answer.status == 400 and excerpt in _REFUSED:
            return GaveUp(f"answered 400: {excerpt}", answer.status)
        return judge(answer.status, answer.headers.get("retry-after"), answer.beginning, now)

    async def close(self) -> None:
        """Nothing to close: the HTTP connections belong to the client."""


def slack_text(message: Message) -> str:
    """The message as Slack's mrkdwn: the subject in bold, then the text.

    ``&``, ``<`` and ``>`` are escaped as Slack asks, so that a customer's trait can't mention a whole channel
    (``<!channel>``).
    """
    parts = []
    if message.subject:
        parts.append(f"*{_escaped(message.subject)}*")
    if message.text:
        parts.append(_escaped(message.text))
    if not parts:
        stage = message.data.get("to_stage") or message.data.get("stage")
        parts.append(
            _escaped(f"{message.type.removeprefix('touchline.')}: {message.customer_id} {stage or ''}".rstrip())
        )
    return "\n".join(parts)[:_LONGEST_TEXT]


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
