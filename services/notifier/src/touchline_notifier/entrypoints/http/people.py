"""Routes about people: suppressions of addresses, and everything that is stored of a customer."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ConfigDict, Field
from touchline_runtime.audit.routes import actor_of
from touchline_runtime.exports.first_item import with_first_item_read
from touchline_runtime.exports.json_object import items_of, json_object
from touchline_runtime.exports.pages import pretty
from touchline_runtime.http.parameters import WITHOUT_NUL
from touchline_runtime.http.problems import Problem
from touchline_schemas.identity import customer_key
from touchline_schemas.times import to_wire

from touchline_notifier.application.api_ports import Consent, Queries, Suppressions
from touchline_notifier.core.profiles.mailbox import NotAnAddressError, parse_mailbox
from touchline_notifier.entrypoints.http.html import render
from touchline_notifier.entrypoints.http.insights import Reads

Address = Annotated[str, Path(max_length=400, description="an e-mail address")]
_AT_ONCE = 200


class WhySuppressed(BaseModel):
    """Why an address is suppressed."""

    model_config = ConfigDict(extra="forbid")

    reason: str | None = Field(default=None, max_length=500, pattern=r"^[^\x00]*$")


class ConsentRequest(BaseModel):
    """A channel or topic, whether the customer consents, and why it is recorded."""

    model_config = ConfigDict(extra="forbid")

    channel: str = Field(min_length=1, max_length=100, pattern=r"^[^\x00-\x1f\x7f]+$")
    given: bool
    reason: str = Field(min_length=1, max_length=500, pattern=r"^[^\x00]*$")


class SuppressionState(BaseModel):
    """Whether an address is suppressed. `reason` is a code: `suppressed_by_hand`, `email_bounced`, `unsubscribed`, …

    Of an address that is `unsubscribed`, a customer gets the lists that they have joined since.
    """

    address: str
    suppressed: bool
    reason: str | None
    since: str | None


def people_router(reads: Reads, queries: Queries, suppressions: Suppressions, consent: Consent) -> APIRouter:
    """``/v1/suppressions/{address}`` and ``/v1/profiles/{id}/export``; before the routes that end in an id."""
    router = APIRouter(prefix="/v1", tags=["people"])

    def checked(address: str) -> str:
        try:
            parse_mailbox(address)
        except NotAnAddressError as error:
            raise Problem(422, str(error), type="invalid-request") from None
        return address

    async def state(address: str) -> SuppressionState:
        found = await suppressions.state(address) or {"suppressed": False, "reason": None, "since": None}
        shown = bool(found["suppressed"])
        since = found["since"]
        return SuppressionState(
            address=address,
            suppressed=shown,
            reason=found["reason"] if shown else None,
            since=to_wire(since) if shown and since is not None else None,
        )

    @router.get("/suppressions/{address}", summary="Whether anything may be sent to an address")
    async def shown(address: Address) -> SuppressionState:
        return await state(checked(address))

    @router.put("/suppressions/{address}", summary="Send nothing to an address any more")
    async def suppressed(address: Address, request: Request, why: WhySuppressed | None = None) -> SuppressionState:
        reason, now = (why.reason if why is not None else None), datetime.now(UTC)
        await suppressions.change(checked(address), lifted=False, reason=reason, actor=actor_of(request), now=now)
        return await state(address)

    @router.delete("/suppressions/{address}", summary="Lift the suppression of an address")
    async def lifted(
        address: Address, request: Request, reason: Annotated[str | None, Query(max_length=500), WITHOUT_NUL] = None
    ) -> SuppressionState:
        now = datetime.now(UTC)
        await suppressions.change(checked(address), lifted=True, reason=reason, actor=actor_of(request), now=now)
        return await state(address)

    @router.put("/profiles/{customer_id:path}/consent", summary="Record a customer's consent, or its refusal")
    async def consented(
        customer_id: Annotated[str, Path(description="a customer id or key")], body: ConsentRequest, request: Request
    ) -> dict[str, Any]:
        if any(ord(character) < 32 or "\ud800" <= character <= "\udfff" for character in customer_id):
            raise Problem(404, "no such customer: ids hold no control characters", type="not-found")
        found = await reads.profile(customer_key(customer_id))
        if found is None:
            raise Problem(404, f"nothing is known of {customer_id!r}", type="not-found")
        key, actor = found["customer_id"], actor_of(request)
        await consent.change(
            key, body.channel, given=body.given, reason=body.reason, actor=actor, now=datetime.now(UTC)
        )
        return await reads.profile(key) or {}

    @router.get(
        "/profiles/{customer_id:path}/export",
        summary="Everything that the notifier stores of a customer, for an access request",
        description="Traits, consent, suppressions, every action with its reason, every delivery with its message. "
        "`format=html` is a page to read. The stage engine has the rest: `GET /v1/customers/{id}/export`.",
        responses={200: {"content": {"application/json": {}, "text/html": {}}}},
        response_class=StreamingResponse,
    )
    async def export(
        customer_id: Annotated[str, Path(description="a customer id or key")],
        format: Annotated[Literal["json", "html"], Query()] = "json",  # noqa: A002
    ) -> StreamingResponse:
        if any(ord(character) < 32 or "\ud800" <= character <= "\udfff" for character in customer_id):
            raise Problem(404, "no such customer: ids hold no control characters", type="not-found")
        profile = await reads.profile(customer_key(customer_id))
        if profile is None:
            raise Problem(404, f"nothing is known of {customer_id!r}", type="not-found")
        key = profile["customer_id"]
        actions = await with_first_item_read(
            items_of(lambda cursor: queries.actions(customer_id=key, limit=_AT_ONCE, cursor=cursor))
        )
        deliveries = await with_first_item_read(
            items_of(lambda cursor: queries.deliveries(customer_id=key, limit=_AT_ONCE, cursor=cursor))
        )
        headers = {"Content-Disposition": f'attachment; filename="messages.{format}"'}
        if format == "json":
            body = json_object(profile, {"actions": actions, "deliveries": _with_messages(queries, deliveries)})
            return StreamingResponse(body, media_type="application/json", headers=headers)
        page = render(
            "export.html",
            profile=profile,
            actions=[one async for one in actions],
            deliveries=[one async for one in _with_messages(queries, deliveries)],
            pretty=pretty,
        )
        return StreamingResponse(iter([page]), media_type="text/html; charset=utf-8", headers=headers)

    return router


async def _with_messages(queries: Queries, deliveries: AsyncIterator[dict[str, Any]]) -> AsyncIterator[dict[str, Any]]:
    async for delivery in deliveries:
        # None: erased meanwhile.
        if (whole := await queries.delivery(UUID(str(delivery["id"])))) is not None:
            yield whole
