"""Pollbox, an invented survey tool, as a source: each answer becomes a ``survey_answered``.

It uses nothing of ingest but the interface: everything else may change.
"""

import hmac
import json
from collections.abc import Sequence
from datetime import datetime

from touchline_ingest.core.sources.interface import (
    ReadResult,
    Request,
    RequestRejection,
    SourceConfig,
    TouchpointDraft,
    Understood,
    Unreadable,
)


class Pollbox:
    """Reads Pollbox's webhooks: an array of answers, signed as a whole."""

    kind = "pollbox"

    def check(self, config: SourceConfig) -> Sequence[str]:
        """A secret is needed."""
        return [] if any(config.secrets) else ["secret: is missing; copy it from Pollbox under Settings, Webhooks"]

    def read(self, request: Request, config: SourceConfig, now: datetime) -> ReadResult:
        """Prove the request genuine, then read each answer on its own."""
        given = request.headers.get("x-pollbox-signature", "").encode()
        expected = [hmac.new(secret.encode(), request.body, "sha256") for secret in config.secrets if secret]
        if not any(hmac.compare_digest(given, mac.hexdigest().encode()) for mac in expected):
            return RequestRejection(
                401, "signature not valid", "X-Pollbox-Signature doesn't match the body under this secret."
            )
        try:
            answers = json.loads(request.body)
        except ValueError as error:
            return Understood(unreadable=[Unreadable(request.body, f"body is not JSON: {error}")])
        drafts: list[TouchpointDraft] = []
        unreadable: list[Unreadable] = []
        for index, answer in enumerate(answers if isinstance(answers, list) else [answers]):
            try:
                drafts.append(
                    {
                        "id": answer["id"],
                        "type": "survey_answered",
                        "email": answer["respondent"],
                        "occurred_at": answer["answered_at"],
                        "properties": {"score": answer["score"], "survey": answer.get("survey")},
                    }
                )
            except (KeyError, TypeError, AttributeError) as error:
                # Nothing is lost: what can't be read is kept with its bytes, and its neighbours are taken.
                unreadable.append(Unreadable(json.dumps(answer).encode(), f"answer lacks {error}", index))
        return Understood(drafts, unreadable)
