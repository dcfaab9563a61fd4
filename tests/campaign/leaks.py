"""Secrets and addresses in what a round wrote, where they do not belong."""

import re
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from tests.campaign.definitions import KEY, SECRET, UNSUBSCRIBE_SECRET
from tests.campaign.deployment import Deployment

ADDRESS = re.compile(r"(?<![\w.+-])(?<!email:)[\w.+-]+@example\.org")
"""The addresses of the campaign's customers. Who is known by nothing but an address has it as the key, ``email:…``."""
MAY_NAME_ADDRESSES = frozenset(("touchpoints.ndjson", "dead-letters.ndjson", "accepted.ndjson", "received.ndjson"))
"""Files of the evidence whose records carry what a customer's source said, or where a mail went."""


async def metrics_of(deployment: Deployment) -> dict[str, str]:
    """Process → its metrics page."""
    async with httpx.AsyncClient(timeout=60, trust_env=False) as client:
        return {
            f"metrics of {process.name}": (await client.get(f"{process.service.url}/metrics")).text
            for process in deployment.processes
        }


def leaks(database_url: str, logs: Path, evidence: Path, metrics: Mapping[str, str]) -> list[str]:
    """What leaked, and where: secrets anywhere, addresses in logs, metrics, and topics that need none."""
    secrets = {
        "the write key": KEY,
        "the signing secret": SECRET,
        "the signing secret's bytes": SECRET.removeprefix("whsec_"),
        "the secret of unsubscribe links": UNSUBSCRIBE_SECRET,
        "the database's password": urlsplit(database_url).password or "no password",
    }
    texts = dict(metrics)
    texts |= {f"log {path.name}": path.read_text(errors="replace") for path in logs.glob("*.log")}
    texts |= {path.name: path.read_text(errors="replace") for path in evidence.glob("*.ndjson")}
    found = [
        f"{name} in {where}" for where, text in texts.items() for name, secret in secrets.items() if secret in text
    ]
    for where, text in texts.items():
        if where not in MAY_NAME_ADDRESSES and (address := ADDRESS.search(text)):
            line = text[max(0, address.start() - 100) : address.end() + 20]
            found.append(f"an address in {where}: …{line}…")
    return found
