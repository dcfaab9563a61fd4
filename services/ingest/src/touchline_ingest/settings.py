"""The ingest service's settings, on top of what all services share."""

from pathlib import Path
from typing import ClassVar

from pydantic import Field
from touchline_runtime.config.settings import PUBLIC_URL, ServiceSettings

from touchline_ingest.core.access.rate import Rate
from touchline_ingest.core.touchpoints.limits import Limits


class IngestSettings(ServiceSettings):
    """Environment variables ``TOUCHLINE_…`` of ``touchline-ingest``."""

    service: ClassVar[str] = "ingest"

    http_port: int = Field(default=8080, ge=0, le=65535, description="Port to listen on.")
    sources_file: Path | None = Field(
        default=None, description="YAML file of the sources that may post, with their keys and secrets."
    )
    sources_reload_seconds: float = Field(
        default=1.0, gt=0, description="How often to look whether the sources file has changed."
    )
    ingest_public_url: str = Field(
        default="",
        pattern=PUBLIC_URL,
        description="Scheme and host under which senders reach ingest, such as https://in.example.org. Needed behind a "
        "proxy by vendors that sign the address (HubSpot). Default: TOUCHLINE_PUBLIC_URL, else what the request says.",
    )
    max_body_bytes: int = Field(
        default=5_000_000, ge=1024, description="Largest body of a request, compressed or not, in bytes."
    )
    max_items: int = Field(default=10_000, ge=1, description="Most touchpoints in one request.")
    body_timeout_seconds: float = Field(
        default=30.0, gt=0, description="How long a sender may take to send its body before it is answered 408."
    )
    ack_timeout_seconds: float = Field(
        default=10.0, gt=0.1, description="How long to wait for Kafka's acknowledgement before answering 503."
    )
    max_in_flight_records: int = Field(
        default=50_000, ge=1, description="Touchpoints waiting for Kafka at once; beyond it posts are answered 503."
    )
    max_in_flight_bytes: int = Field(
        default=128_000_000, ge=1_000_000, description="Bytes waiting for Kafka at once; beyond it 503."
    )
    max_reading_bytes: int = Field(
        default=256_000_000,
        ge=1_000_000,
        description="Bytes of bodies held at once, decompressed, from their first byte to the answer; beyond it 503.",
    )

    wrong_keys_per_minute: int = Field(
        default=300,
        ge=1,
        description="Wrong keys and signatures of one client address that are answered 401; beyond it 429. A "
        "valid key is always accepted.",
    )

    def own_public_url(self) -> str:
        """The public address of ingest, without a slash at its end; empty when none is set."""
        return (self.ingest_public_url or self.public_url).rstrip("/")

    def has_credentials(self) -> bool:
        """Whether a sources file is configured: each source in it has a key or a secret."""
        return self.sources_file is not None

    def auth_failure_rate(self) -> Rate:
        """How many wrong keys of one address are answered 401."""
        return Rate(per_second=self.wrong_keys_per_minute / 60, burst=self.wrong_keys_per_minute)

    def limits(self) -> Limits:
        """The limits of one request."""
        return Limits(body_bytes=self.max_body_bytes, items=self.max_items)
