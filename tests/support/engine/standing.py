"""Waiting until customers are in the stages where a definition puts them."""

from typing import Any

from tests.support.engine.expected import expected, now_micros, trial_fold
from tests.support.engine.world import World
from tests.support.waiting import wait_until


async def stand(world: World, posted: list[dict[str, Any]], text: str, name: str = "trial") -> None:
    """Wait until every customer stands where a version puts them, and the API names that version everywhere."""
    seen: list[Any] = []
    fold = trial_fold(text)
    version = fold.timeline.newest.version

    async def same() -> bool:
        seen.clear()
        for key, want in expected(posted, fold, now_micros()).items():
            got = await world.get(f"/v1/customers/{key}")
            stage = ((got or {}).get("stages") or {}).get(name) or {}
            told = [stage.get(field) for field in ("version", "stage", "entered_at", "stalled_level")]
            wanted = [version if want["stage"] else None, want["stage"], want["entered_at"], want["stalled_level"]]
            if told != wanted:
                seen.append((key, told, wanted))
        (listed,) = [one for one in (await world.get("/v1/lifecycles"))["items"] if one["name"] == name]
        if listed["version"] != version:
            seen.append(listed)
        return not seen

    try:
        await wait_until(same, "everybody stands where the version in force puts them")
    except AssertionError as error:
        raise AssertionError(f"{error}: {seen[:3]}") from None
