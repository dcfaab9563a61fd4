"""The ingest service's settings, on top of what all services share."""

from pathlib import Path

from pydantic import Field
from touchline_runtime.settings import ServiceSettings

from touchline_ingest.core.limits import Limits
from touchline_ingest.core.rate import Rate


class IngestSettings(ServiceSettings):
    """Environment variables ``TOUCHLINE_…`` of ``touchline-ingest``."""

    http_port: int = Field(default=8080, ge=0, le=65535, description="Port to listen on.")
    sources_file: Path | None = Field(
        default=None, description="YAML file of the sources that may post, with their keys and secrets."
    )
    sources_reload_seconds: float = Field(
        default=1.0, gt=0, description="How often to look whether the sources file has changed."
    )
    public_url: str = Field(
        default="",
        pattern=r"^(https?://[^/]+)?/?$",
        description="Scheme and host under which senders reach this service, such as https://in.example.org. Needed "
        "behind a proxy by vendors that sign the address (HubSpot). Default: what the request says.",
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
        default=256_000_000, ge=1_000_000, description="Bytes of bodies being received at once; beyond it 503."
    )

    wrong_keys_per_minute: int = Field(
        default=300,
        ge=1,
        description="Wrong keys and signatures that one client address is told of; beyond it they are answered 429. A "
        "right key always opens.",
    )

    def has_credentials(self) -> bool:
        """Every source has a key or a secret, so a sources file is what guards this service."""
        return self.sources_file is not None

    def stranger_rate(self) -> Rate:
        """How often one address may be told that its key is wrong."""
        return Rate(per_second=self.wrong_keys_per_minute / 60, burst=self.wrong_keys_per_minute)

    def limits(self) -> Limits:
        """The limits of one request."""
        return Limits(body_bytes=self.max_body_bytes, items=self.max_items)
