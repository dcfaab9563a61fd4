"""``GET /v1/types``: the touchpoint types that each source has posted to this process."""

from typing import Annotated, Any

from fastapi import APIRouter, Query
from touchline_runtime.http.problems import Problem
from touchline_schemas.near_misses import is_standard, near_miss
from touchline_schemas.times import to_wire

from touchline_ingest.core.touchpoints.types_seen import SeenType, TypesSeen


def types_router(seen: TypesSeen) -> APIRouter:
    """The list."""
    router = APIRouter(prefix="/v1/types", tags=["types"])

    @router.get("", summary="Touchpoint types by source, with the first and last time; misspelt ones are marked")
    async def listed(
        source: Annotated[str | None, Query(description="of this source alone")] = None,
        limit: Annotated[int, Query(ge=1, le=500, description="items a page")] = 100,
        cursor: Annotated[str | None, Query(description="`next` of the page before")] = None,
    ) -> dict[str, Any]:
        after = None
        if cursor is not None:
            name, separator, type_name = cursor.partition(" ")
            if not separator:
                raise Problem(400, "cursor is not one of this list's", type="bad-cursor")
            after = (name, type_name)
        page = seen.page(source=source, after=after, limit=limit + 1)
        more = len(page) > limit
        page = page[:limit]
        return {"items": [_item(one) for one in page], "next": f"{page[-1].source} {page[-1].type}" if more else None}

    return router


def _item(seen: SeenType) -> dict[str, Any]:
    return {
        "source": seen.source,
        "type": seen.type,
        "standard": is_standard(seen.type),
        "did_you_mean": near_miss(seen.type),
        "count": seen.count,
        "first_at": to_wire(seen.first_at),
        "last_at": to_wire(seen.last_at),
    }
