"""The company's configuration of Touchline: sources with new keys, endpoints, plays and a lifecycle of its own.

Each run writes all files into one folder that only the owner can read; the sources file holds hashes
and names of environment variables, the secrets themselves go to the services' environment.
"""

import base64
import hashlib
import json
import secrets
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from touchline_demo.clients.vendor_formats import HUBSPOT_MEANINGS
from touchline_demo.company.people import CRM, DESK, MAILER, SHOP

HISTORY = "history"
"""The source under which the months before are imported."""

LIFECYCLES = ("service-cycle", "reach-to-loyalty", "basket")
_SENDGRID_KEY = "DEMO_SENDGRID_PUBLIC_KEY"
_HUBSPOT_SECRET = "DEMO_HUBSPOT_SECRET"  # noqa: S105  (a variable's name)
_DESK_SECRET = "DEMO_DESK_SECRET"  # noqa: S105


@dataclass(frozen=True)
class Secrets:
    """Made for one run."""

    write_keys: Mapping[str, str]
    sendgrid: EllipticCurvePrivateKey
    hubspot: str
    webhook: str
    unsubscribe: str

    @classmethod
    def fresh(cls) -> "Secrets":
        """New ones."""
        return cls(
            write_keys={name: secrets.token_urlsafe(24) for name in (SHOP, DESK, HISTORY)},
            sendgrid=generate_private_key(SECP256R1()),
            hubspot=secrets.token_hex(18),
            webhook="whsec_" + base64.b64encode(secrets.token_bytes(32)).decode(),
            unsubscribe=secrets.token_urlsafe(32),
        )


@dataclass(frozen=True)
class Addresses:
    """Where everybody listens."""

    ingest: int
    engine: int
    notifier: int
    webhooks: int
    smtp: int


@dataclass(frozen=True)
class Setup:
    """The files of one run, and the environment that goes with them."""

    folder: Path
    secrets: Secrets
    addresses: Addresses

    @property
    def mailer_url(self) -> str:
        """Where the mailer's webhooks go."""
        return f"http://127.0.0.1:{self.addresses.ingest}/v1/webhooks/{MAILER}"

    @property
    def crm_url(self) -> str:
        """Where the CRM's webhooks go; its signature covers it."""
        return f"http://127.0.0.1:{self.addresses.ingest}/v1/webhooks/{CRM}"

    def write(self) -> None:
        """Write everything; what was there is removed."""
        for name in ("plays", "lifecycles"):
            target = self.folder / name
            shutil.rmtree(target, ignore_errors=True)
            with as_file(files(__package__) / name) as shipped:
                shutil.copytree(shipped, target)
        # JSON is YAML.
        for name, document in (("sources.yaml", self._sources()), ("endpoints.yaml", self._endpoints())):
            path = self.folder / name
            path.touch(mode=0o600)
            path.write_text(json.dumps(document, indent=2))

    def environment(self) -> dict[str, str]:
        """Environment variables that all services share, without the stack's addresses and the ports."""
        return {
            "TOUCHLINE_SOURCES_FILE": str(self.folder / "sources.yaml"),
            "TOUCHLINE_ENDPOINTS_FILE": str(self.folder / "endpoints.yaml"),
            "TOUCHLINE_PLAYS_DIR": str(self.folder / "plays"),
            "TOUCHLINE_LIFECYCLES_DIR": str(self.folder / "lifecycles"),
            "TOUCHLINE_LIFECYCLES": ",".join(LIFECYCLES),
            "TOUCHLINE_DELIVERY_ALLOWED_NETWORKS": "127.0.0.0/8",
            "TOUCHLINE_UNSUBSCRIBE_SECRET": self.secrets.unsubscribe,
            # Nobody outside this machine gets a mail of the demo.
            "TOUCHLINE_NOTIFIER_PUBLIC_URL": f"http://127.0.0.1:{self.addresses.notifier}",
            _SENDGRID_KEY: _spki(self.secrets.sendgrid),
            _HUBSPOT_SECRET: self.secrets.hubspot,
            _DESK_SECRET: self.secrets.webhook,
        }

    def _sources(self) -> dict[str, Any]:
        def keyed(name: str, **more: Any) -> dict[str, Any]:
            key = self.secrets.write_keys[name]
            return {"name": name, "kind": "api", "key_sha256": hashlib.sha256(key.encode()).hexdigest(), **more}

        return {
            "sources": [
                keyed(SHOP),
                keyed(DESK),
                keyed(HISTORY),
                {"name": MAILER, "kind": "sendgrid", "secret": {"env": _SENDGRID_KEY}},
                {
                    "name": CRM,
                    "kind": "hubspot",
                    "secret": {"env": _HUBSPOT_SECRET},
                    "public_url": self.crm_url,
                    "link_deals": True,
                    "events": HUBSPOT_MEANINGS,
                },
            ]
        }

    def _endpoints(self) -> dict[str, Any]:
        return {
            "endpoints": [
                {
                    "name": "desk",
                    "url": f"http://127.0.0.1:{self.addresses.webhooks}/desk",
                    "secret": {"env": _DESK_SECRET},
                    "subscribe": ["stage-changed"],
                    "lifecycles": ["service-cycle"],
                    "moves": ["regress"],
                },
                {
                    "name": "mail",
                    "type": "email",
                    "smtp": {"host": "127.0.0.1", "port": self.addresses.smtp, "tls": "none"},
                    "from": "Alder & Finch <hello@example.org>",
                },
            ]
        }


def _spki(key: EllipticCurvePrivateKey) -> str:
    der = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return base64.b64encode(der).decode()
