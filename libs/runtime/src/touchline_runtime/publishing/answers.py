"""Requests and responses that the routes of all kinds of definitions share."""

from typing import Annotated, Any

from pydantic import BaseModel, Field

from touchline_runtime.http.parameters import WITHOUT_NUL
from touchline_runtime.http.problems import Problem
from touchline_runtime.publishing.publication import PublicationRefusedError
from touchline_runtime.yaml.positions import Fault, FaultyDocumentError

MAX_DEFINITION = 200_000


DefinitionText = Annotated[str, Field(max_length=MAX_DEFINITION), WITHOUT_NUL]
Comment = Annotated[str, Field(max_length=2000), WITHOUT_NUL]


class DefinitionFault(BaseModel):
    """One thing that is wrong: where, and what to write instead."""

    line: int | None
    path: str
    message: str


class Published(BaseModel):
    """The version in force. `changed` false: it was in force already, with the same content."""

    version: int
    changed: bool


class Meaning(BaseModel):
    """One difference in meaning."""

    where: str
    text: str


class Differences(BaseModel):
    """Differences from a version: `text` is a unified diff, line by line."""

    version: int
    same: bool
    text: list[str]
    meaning: list[Meaning]


def fault_json(fault: Fault) -> dict[str, Any]:
    """A fault as the API reports it."""
    message = f"{fault.message}; {fault.instead}" if fault.instead else fault.message
    return {"line": fault.line, "path": fault.path, "message": message}


def faults_json(error: FaultyDocumentError) -> list[dict[str, Any]]:
    """All faults of a document."""
    return [fault_json(fault) for fault in error.faults]


def faulty(error: FaultyDocumentError) -> Problem:
    """The answer to a definition that is wrong."""
    return Problem(422, f"the definition is wrong: {error}", type="faulty-definition", errors=faults_json(error))


def refused(error: PublicationRefusedError) -> Problem:
    """The answer to a publication that conflicts with what is in force."""
    return Problem(409, str(error), type=error.kind, in_force=error.in_force)
