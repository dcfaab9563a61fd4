"""The endpoints file: company systems, mail servers and chat rooms that actions and facts are sent to.

::

    endpoints:
      - {name: crm, url: "https://crm.example.org/hook", secret: {env: CRM_SECRET}, subscribe: [stage-changed]}
      - name: mail
        type: email
        smtp: {host: smtp.example.org, port: 587, tls: starttls, username: touchline, password: {env: SMTP_PASSWORD}}
        from: "Care <care@example.org>"
      - {name: team, type: slack, url: {env: SLACK_WEBHOOK}}

A secret, and a URL that is one, is a text, ``{env: NAME}`` or ``{file: PATH}``; a list of them while rotating.
"""

from collections.abc import Callable, Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator
from touchline_runtime.config.secrets import ReadSecret, SecretError, SecretReader, empty_secret, resolve_secret
from touchline_runtime.yaml.positions import Fault, FaultyDocumentError, SourcePositions, written_path
from touchline_runtime.yaml.text import read_document
from touchline_schemas.events.facts import MoveKind

FactName = Literal[
    "stage-changed", "customer-stalled", "customer-recovered", "customer-merged", "customer-erased", "audience-entered",
    "audience-left",
]  # fmt: skip


class Smtp(BaseModel):
    """A mail server."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    host: str
    port: int = Field(default=587, ge=1, le=65535)
    tls: Literal["starttls", "tls", "none"] = Field(
        default="starttls", description="starttls (587), tls (465), or none: loopback and tests only"
    )
    username: str | None = None
    password: SecretStr | None = None
    timeout_seconds: float = Field(default=30, gt=0, le=120)


class Endpoint(BaseModel):
    """One endpoint. ``options`` holds what an installed channel needs."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length=100)
    type: str = Field(default="webhook", pattern=r"^[a-z][a-z0-9_]*$", description="webhook, email, slack, or another")
    url: SecretStr | None = Field(default=None, description="where webhooks and Slack messages go")
    secret: tuple[SecretStr, ...] = Field(default=(), description="whsec_…; the first signs first, all sign")
    headers: dict[str, str] = Field(default_factory=dict, description="sent with every webhook")
    timeout_seconds: float = Field(default=20, gt=0, le=60)

    subscribe: tuple[FactName, ...] = Field(default=(), description="facts that it gets, independently of plays")
    lifecycles: tuple[str, ...] = Field(default=(), description="of these alone; empty: all")
    stages: tuple[str, ...] = Field(default=(), description="into or in these stages alone; empty: all")
    moves: tuple[MoveKind, ...] = Field(default=(), description="of stage changes, these alone; empty: all")
    audiences: tuple[str, ...] = Field(default=(), description="of audience changes, of these alone; empty: all")
    backfill: bool = Field(default=False, description="also facts about the past")

    smtp: Smtp | None = None
    sender: str | None = Field(default=None, alias="from", description="Name <address> that mails come from")
    reply_to: str | None = None
    bounce_address: str | None = Field(
        default=None,
        description="envelope sender; `{delivery}` in it becomes the delivery's id, so that a bounce finds its mail",
    )
    options: dict[str, Any] = Field(default_factory=dict)

    @field_validator("secret", mode="before")
    @classmethod
    def _one_or_several(cls, value: object) -> object:
        return value if isinstance(value, list | tuple) else (value,)

    def wants(
        self,
        fact: str,
        *,
        lifecycle: str | None,
        stage: str | None,
        move: str | None,
        backfill: bool,
        audience: str | None = None,
    ) -> bool:
        """Whether it subscribes to facts of this type (``fact`` without its ``touchline.``)."""
        if fact not in self.subscribe or (backfill and not self.backfill):
            return False
        if audience is not None and self.audiences and audience not in self.audiences:
            return False
        if lifecycle is not None and self.lifecycles and lifecycle not in self.lifecycles:
            return False
        if stage is not None and self.stages and stage not in self.stages:
            return False
        return not (move is not None and self.moves and move not in self.moves)


def parse_endpoints(
    text: str, file: str, *, environ: Mapping[str, str], read_file: Callable[[str], str]
) -> dict[str, Endpoint]:
    """Read an endpoints file: name → endpoint.

    Raises:
        FaultyDocumentError: with file, line, path and what to write, one line for everything that is wrong.
    """
    document, positions = read_document(text, file)
    entries = document.get("endpoints") if isinstance(document, dict) else None
    if not isinstance(entries, list):
        raise FaultyDocumentError([positions.fault([], "write a list under `endpoints:`")])
    faults: list[Fault] = []
    for key in document:
        if key != "endpoints":
            faults.append(positions.fault([key], "unknown: the file has `endpoints:` alone"))
    endpoints: dict[str, Endpoint] = {}
    for index, entry in enumerate(entries):
        endpoint = _parse_one(positions, index, entry, SecretReader(environ, read_file), faults)
        if endpoint is None:
            continue
        if endpoint.name in endpoints:
            faults.append(positions.fault(["endpoints", index, "name"], f"there are two endpoints {endpoint.name!r}"))
        endpoints[endpoint.name] = endpoint
    if faults:
        raise FaultyDocumentError(faults)
    return endpoints


_SECRET_PATHS = (("secret",), ("url",), ("smtp", "password"))


def _parse_one(
    positions: SourcePositions,
    index: int,
    entry: Any,
    read_secret: ReadSecret,
    faults: list[Fault],
) -> Endpoint | None:
    if not isinstance(entry, dict):
        faults.append(positions.fault(["endpoints", index], "write {name: …, url: …, secret: …}"))
        return None
    before = len(faults)
    entry = {**entry, "smtp": dict(entry["smtp"])} if isinstance(entry.get("smtp"), dict) else dict(entry)
    for path in _SECRET_PATHS:
        holder = entry if len(path) == 1 else entry.get(path[0])
        if isinstance(holder, dict) and path[-1] in holder:
            try:
                holder[path[-1]] = resolve_secret(holder[path[-1]], read_secret)
            except SecretError as error:
                faults.append(positions.fault(["endpoints", index, *path], str(error)))
                continue
            found = holder[path[-1]]
            for one in found if isinstance(found, list | tuple) else (found,):
                why = empty_secret(one) if isinstance(one, str) and path != ("url",) else None
                if why is not None:
                    faults.append(positions.fault(["endpoints", index, *path], why, "write the secret itself"))
    if len(faults) > before:
        return None
    try:
        return Endpoint.model_validate(entry)
    except ValidationError as error:
        for problem in error.errors():
            message = problem["msg"].removeprefix("Value error, ")
            if problem["type"] == "extra_forbidden":
                known = sorted(field.alias or name for name, field in Endpoint.model_fields.items())
                message = f"unknown: known are {', '.join(known)} (what another channel needs goes under options)"
            faults.append(positions.fault(["endpoints", index, *written_path(entry, problem["loc"])], message))
        return None
