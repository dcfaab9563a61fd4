"""``GET /v1/operations``: partitions, lag, timers, outbox, version and settings."""

import time
from typing import Any

from fastapi import APIRouter
from touchline_runtime.answer_cache import AnswerCache
from touchline_runtime.config.settings import ServiceSettings
from touchline_runtime.config.settings_in_force import settings_in_force

from touchline_stage_engine.application.queries.ports import OverviewQueries, TopicEndOffsets
from touchline_stage_engine.entrypoints.http.analysis_answers import COMPUTING
from touchline_stage_engine.entrypoints.http.answers import problems
from touchline_stage_engine.entrypoints.http.people_answers import EngineOperations

_NO_TIMERS = {"waiting": 0, "due": 0, "next_at": None}


def operations_router(
    overview: OverviewQueries, ends: TopicEndOffsets, answers: AnswerCache, settings: ServiceSettings, version: str
) -> APIRouter:
    """The route ``/v1/operations``."""
    router = APIRouter(tags=["operations"])

    @router.get(
        "/v1/operations",
        summary="Partitions, lag, timers, outbox, version and settings",
        description="`lag`: touchpoints on the topic that are not folded yet; null when Kafka did not answer in time. "
        "Secrets are shown as set or not set.",
        responses={**problems(), **COMPUTING},
        response_model=EngineOperations,
    )
    async def operations() -> dict[str, Any]:
        partitions = await overview.partitions()
        timers, _ = await answers.get(("timers",), lambda: overview.timers(time.time_ns() // 1000))
        known = await ends.ends()
        items = []
        for one in partitions:
            end = known.get(one["partition"])
            waiting = timers.get(one["partition"], _NO_TIMERS)
            items.append(
                one
                | {
                    "lag": None if end is None else max(0, end - one["next_offset"]),
                    "timers_waiting": waiting["waiting"],
                    "timers_due": waiting["due"],
                    "next_timer_at": waiting["next_at"],
                }
            )
        lags = [item["lag"] for item in items]
        return {
            "version": version,
            "partitions": items,
            "lag": None if any(lag is None for lag in lags) else sum(lags),
            "outbox_waiting": sum(item["outbox_waiting"] for item in items),
            "timers_due": sum(item["timers_due"] for item in items),
            "settings": settings_in_force(settings),
        }

    return router
