"""What the engine makes of identities, beside what Kruskal makes of the whole set of links."""

from typing import Any

from touchline_stage_engine.core.identity.canonical import shared_keys
from touchline_stage_engine.core.identity.links import SHARED_KEY_LIMIT

from tests.support.engine.expected import expected, links_of, now_micros, roots_of, trial_fold
from tests.support.engine.world import World, key_of
from tests.support.waiting import wait_until


async def agree(world: World, posted: list[dict[str, Any]], limit: int = SHARED_KEY_LIMIT) -> None:
    """Wait until every key leads to its root, every root stands where its whole set puts it, and what is listed is
    what Kruskal refuses and what more than `limit` customers name.
    """
    fold = trial_fold()
    roots, pairs = roots_of(posted, limit)
    shared = sorted(shared_keys(links_of(posted), limit))
    with_touchpoints = {key_of(one) for one in posted}
    seen: list[Any] = []

    async def same() -> bool:
        seen.clear()
        for key, want in expected(posted, fold, now_micros(), limit).items():
            got = await world.get(f"/v1/customers/{key}")
            if got is None:
                seen.append((key, want, got))
                continue
            aliases = sorted(alias for alias, root in roots.items() if root == key and alias != key)
            stage = got["stages"].get("trial") or {"stage": None, "entered_at": None, "stalled_level": None}
            standing = {name: stage[name] for name in ("stage", "entered_at", "stalled_level")}
            published = (got["customer_id"], got["touchpoints"], got["aliases"], standing)
            wanted = (key, want["touchpoints"], aliases, {name: want[name] for name in standing})
            if published != wanted:
                seen.append((published, wanted))
        for alias, root in roots.items():
            if alias == root and alias not in with_touchpoints:
                continue  # nobody's touchpoint is filed under it
            got = await world.get(f"/v1/customers/{alias}")
            if got is None or got["customer_id"] != root:
                seen.append((alias, root, got))
        found = (await world.get("/v1/identity-conflicts?limit=1000"))["items"]
        listed = [tuple(item["customers"]) for item in found if item["kind"] == "refused-link"]
        if listed != sorted(pairs):
            seen.append((listed, pairs))
        if (names := [item["key"] for item in found if item["kind"] == "shared-key"]) != shared:
            seen.append((names, shared))
        return not seen

    try:
        await wait_until(same, "every key leads to its root")
    except AssertionError as error:
        raise AssertionError(f"{error}: {seen[:3]}") from None
