"""Faults in what receivers got: missing, repeated, without an action, or after an opt-out."""

from dataclasses import replace
from random import Random
from typing import Any

from touchline_checker.evidence import Evidence, Received, Record
from touchline_checker.findings import Kind

from tests.support.checker.planted_faults.planting import HOUR, choose, fault, text_of


@fault
def a_sent_message_arrived_nowhere(evidence: Evidence, rng: Random) -> set[Kind] | None:
    if not evidence.received:
        return None
    del evidence.received[rng.randrange(len(evidence.received))]
    return {Kind.MESSAGE_NOT_RECEIVED}


@fault
def a_message_arrived_of_an_action_that_is_nowhere(evidence: Evidence, rng: Random) -> set[Kind] | None:
    assert evidence.received is not None
    evidence.received.append(Received("webhook", evidence.collected_at - HOUR, "msg_x", "no-action"))
    return {Kind.MESSAGE_WITHOUT_ACTION}


@fault
def a_message_arrived_under_two_ids(evidence: Evidence, rng: Random) -> set[Kind] | None:
    if not evidence.received:
        return None
    evidence.received.append(replace(rng.choice(evidence.received), message_id="msg_another"))
    return {Kind.MESSAGE_REPEATED}


@fault
def a_mail_arrived_after_its_reader_had_unsubscribed(evidence: Evidence, rng: Random) -> set[Kind] | None:
    mails = [message for message in evidence.received or () if message.kind == "mail"]
    mail = choose(rng, mails)
    if mail is None:
        return None
    at = mail.at - 2 * 60 * 10**6
    # By the customer, or with nothing but the address.
    named: dict[str, Any] = rng.choice([{"customer_id": mail.customer_id}, {"email": (mail.to or "").upper()}])
    key = named.get("customer_id") or f"email:{mail.to}"
    data = {"id": "opt-out", "source": "mailer", "type": "unsubscribed", "channel": "email", "direction": "inbound",
            "occurred_at": text_of(at), "received_at": text_of(at), "properties": {}, **named}  # fmt: skip
    evidence.topics["touchpoints"].append(Record(0, 10**6, key, {}, data, at))
    return {Kind.MESSAGE_AFTER_UNSUBSCRIBE}
