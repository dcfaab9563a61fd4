"""The webhook channel: Standard Webhooks, signed."""

from collections.abc import Sequence
from datetime import datetime
from urllib.parse import urlsplit

from touchline_runtime.tracing import HEADER

from touchline_notifier.adapters.http.guarded_client import CantSendError, CantWriteError, GuardedHttp
from touchline_notifier.core.delivery.channel import Attempt, Delivery, GaveUp, Retry
from touchline_notifier.core.delivery.endpoints import Endpoint
from touchline_notifier.core.delivery.http_status import judge
from touchline_notifier.core.delivery.message_ids import webhook_id
from touchline_notifier.core.delivery.signing import BadSecretError, SigningSecret, parse_secrets, signature_headers
from touchline_notifier.core.delivery.webhook_body import TooLargeError, webhook_body

# Headers that an endpoint or a play cannot replace.
_OURS = frozenset({"host", "content-length", "content-type", "transfer-encoding", "connection"})


def check_url(endpoint: Endpoint) -> list[str]:
    """What is wrong with an endpoint's URL."""
    if endpoint.url is None:
        return ["url: say where to send to: url: https://…"]
    try:
        parts = urlsplit(endpoint.url.get_secret_value())
        parts.port  # noqa: B018  (reading it is the check)
    except ValueError as error:
        return [f"url: {error}"]
    if parts.scheme not in ("https", "http") or not parts.hostname:
        return ["url: must begin with https:// and name a host"]
    return []


class WebhookChannel:
    """Signed POSTs to company systems."""

    name = "webhook"
    needs_address = False

    def __init__(self, http: GuardedHttp) -> None:
        self._http = http

    def check(self, endpoint: Endpoint) -> Sequence[str]:
        """What is wrong with an endpoint: it needs a URL and a signing secret."""
        wrong = check_url(endpoint)
        try:
            _secrets(endpoint)
        except BadSecretError as error:
            wrong.append(f"secret: {error}")
        return wrong

    async def send(self, delivery: Delivery, endpoint: Endpoint, now: datetime) -> Attempt:
        """POST the message once, signed for this attempt."""
        try:
            body = webhook_body(delivery.message)
            secrets = _secrets(endpoint)
        except TooLargeError as error:
            return GaveUp(str(error))
        except BadSecretError as error:
            return Retry(f"secret: {error}")
        if endpoint.url is None:
            return Retry("the endpoint has no url")
        own = {**endpoint.headers, **delivery.message.headers}
        if delivery.message.trace:
            own[HEADER] = delivery.message.trace
        headers = {
            **{name: value for name, value in own.items() if name.lower() not in _OURS},
            "content-type": "application/json",
            **signature_headers(webhook_id(delivery.id), int(now.timestamp()), body, secrets),
        }
        try:
            answer = await self._http.post(
                endpoint.name,
                endpoint.url.get_secret_value(),
                body,
                headers,
                timeout_seconds=endpoint.timeout_seconds,
            )
        except CantWriteError as error:
            return GaveUp(str(error))
        except CantSendError as error:
            return Retry(str(error))
        return judge(answer.status, answer.headers.get("retry-after"), answer.beginning, now)

    async def close(self) -> None:
        """Nothing to close: the HTTP connections belong to the client."""


def _secrets(endpoint: Endpoint) -> tuple[SigningSecret, ...]:
    return parse_secrets(" ".join(secret.get_secret_value() for secret in endpoint.secret))
