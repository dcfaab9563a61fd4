"""Salesforce's outbound messages: the one SOAP document we read, and the one we answer.

XML is read by expat with everything dangerous refused on sight: a document type (and with it entities of any sort),
more depth, elements or text than an outbound message can have. Namespaces are ignored, for Salesforce changes the
sObject's by edition; local names say enough.
"""

from dataclasses import dataclass, field
from typing import Any
from xml.parsers import expat  # only with DOCTYPE refused, see _Reader

from touchline_ingest.core.sources.values import UnreadableError

_MAX_BYTES = 1_000_000
_MAX_DEPTH = 16
_MAX_ELEMENTS = 50_000

ACKNOWLEDGED = (
    b'<?xml version="1.0" encoding="UTF-8"?>'
    b'<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/"><soapenv:Body>'
    b'<notificationsResponse xmlns="http://soap.sforce.com/2005/09/outbound"><Ack>true</Ack></notificationsResponse>'
    b"</soapenv:Body></soapenv:Envelope>"
)
"""Without exactly this Salesforce sends the message again, for 24 hours."""


@dataclass
class Element:
    """An element: local name, attributes by local name, children, text."""

    name: str
    attributes: dict[str, str]
    children: list["Element"] = field(default_factory=list)
    text: str = ""

    def child(self, *path: str) -> "Element | None":
        """The first element at a path of local names."""
        found: Element | None = self
        for name in path:
            found = next((one for one in found.children if one.name == name), None) if found else None
        return found


@dataclass(frozen=True)
class Notification:
    """One record in an outbound message: its id, the object's type (``Opportunity``) and its fields as text."""

    id: str
    sobject: str
    fields: dict[str, str]


@dataclass(frozen=True)
class OutboundMessage:
    """A message of up to 100 notifications from one organization."""

    organization_id: str
    notifications: list[Notification]
    unreadable: int


class _Reader:
    def __init__(self) -> None:
        self.root = Element("", {})
        self._open = [self.root]
        self._elements = 0

    def start(self, name: str, attributes: dict[str, str]) -> None:
        self._elements += 1
        if self._elements > _MAX_ELEMENTS or len(self._open) > _MAX_DEPTH:
            raise UnreadableError("is XML with too many or too deep elements")
        element = Element(_local(name), {_local(key): value for key, value in attributes.items()})
        self._open[-1].children.append(element)
        self._open.append(element)

    def end(self, _name: str) -> None:
        self._open.pop()

    def text(self, text: str) -> None:
        self._open[-1].text += text

    def refuse(self, *_: Any) -> Any:
        raise UnreadableError("has a document type or entities, which SOAP forbids")


def _local(name: str) -> str:
    return name.rsplit(":", 1)[-1]


def read_xml(body: bytes) -> Element:
    """The document's root element.

    Raises:
        UnreadableError: no XML, or XML with a document type, or more of it than allowed.
    """
    if len(body) > _MAX_BYTES:
        raise UnreadableError(f"is larger than {_MAX_BYTES} bytes")
    reader = _Reader()
    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartElementHandler = reader.start
    parser.EndElementHandler = reader.end
    parser.CharacterDataHandler = reader.text
    parser.StartDoctypeDeclHandler = reader.refuse
    parser.EntityDeclHandler = reader.refuse
    parser.ExternalEntityRefHandler = reader.refuse
    try:
        parser.Parse(body, True)
    except (expat.ExpatError, ValueError, LookupError) as error:
        raise UnreadableError(f"is not XML: {error}") from None
    return reader.root.children[0]


def read_outbound_message(body: bytes) -> OutboundMessage:
    """The notifications of an outbound message.

    Raises:
        UnreadableError: it is no outbound message.
    """
    notifications = read_xml(body).child("Body", "notifications")
    if notifications is None:
        raise UnreadableError("is no outbound message: there is no soapenv:Body with notifications")
    organization = notifications.child("OrganizationId")
    read, unreadable = [], 0
    for element in notifications.children:
        if element.name != "Notification":
            continue
        notification_id, record = element.child("Id"), element.child("sObject")
        if notification_id is None or record is None or not notification_id.text.strip():
            unreadable += 1
            continue
        fields = {one.name: one.text for one in record.children if one.attributes.get("nil") != "true"}
        read.append(Notification(notification_id.text.strip(), _local(record.attributes.get("type", "")), fields))
    return OutboundMessage(organization.text.strip() if organization else "", read, unreadable)
