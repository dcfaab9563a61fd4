"""What the tests of published plays ask of a notifier."""

from typing import Any

import httpx

from tests.support.notifier.world import Process

PATH = "/v1/plays/win-back"


def text(number: int | str, more: str = "") -> str:
    """A play whose messages name the draft that they were decided by."""
    return (
        "play: win-back\n"
        "when: {fact: customer-stalled, lifecycle: service-cycle}\n"
        f'action: {{channel: webhook, endpoint: crm, body: "draft {number} for {{{{ customer_id }}}}"}}\n{more}'
    )


async def call(process: Process, method: str, path: str, token: str = "", **options: Any) -> httpx.Response:
    """One request."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    async with httpx.AsyncClient(timeout=60, base_url=process.url) as client:
        return await client.request(method, path, headers=headers, **options)


async def publish(process: Process, definition: str, base: int | None = None, **more: Any) -> httpx.Response:
    """Publish win-back."""
    return await call(process, "PUT", PATH, json={"definition": definition, "base": base} | more)
