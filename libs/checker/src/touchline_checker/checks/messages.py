"""Every sent message was received, nothing else was, and nothing after an unsubscribe."""

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from touchline_checker.checks.folded import Input, Tolerance
from touchline_checker.evidence import Evidence, Received
from touchline_checker.findings import Kind, Report
from touchline_checker.semantics.times import instant, text_of
from touchline_checker.semantics.touchpoints import Touchpoint

_OPT_OUT, _OPT_IN = "unsubscribed", ("subscribed", "resubscribed")


def check_messages(
    evidence: Evidence, folded: Input, actions: Mapping[str, Mapping[str, Any]], tolerance: Tolerance, report: Report
) -> None:
    """Compare what receivers got with the actions."""
    if evidence.received is None:
        report.left_out["checks of messages, without what receivers got"] += 1
        return
    by_action: dict[str, list[Received]] = defaultdict(list)
    facts = {record.headers.get("ce_id") for record in evidence.topics["stage-changes"]}
    attempts: dict[str, int] = defaultdict(int)
    for message in evidence.received:
        report.compared["messages"] += 1
        attempts[message.message_id] += 1
        if message.action_id is not None:
            by_action[message.action_id].append(message)
            if message.action_id not in actions and message.at <= folded.settled:
                report.add(
                    Kind.MESSAGE_WITHOUT_ACTION, message.message_id, f"of action {message.action_id}, which is nowhere"
                )
        elif message.fact_id is not None and message.fact_id not in facts:
            report.add(Kind.MESSAGE_WITHOUT_ACTION, message.message_id, f"of fact {message.fact_id}, which is nowhere")
    # Delivery is at least once: a repetition under the same id is what receivers deduplicate on.
    report.compared["messages repeated under their id"] += sum(number - 1 for number in attempts.values())
    for identifier, messages in by_action.items():
        ids = {message.message_id for message in messages}
        if len(ids) > 1:
            report.add(Kind.MESSAGE_REPEATED, identifier, f"received under {len(ids)} ids: {sorted(ids)}")
    for identifier, action in actions.items():
        recent = instant(action["decided_at"]) > folded.settled
        if action["outcome"] == "sent" and identifier not in by_action and not recent:
            report.add(Kind.MESSAGE_NOT_RECEIVED, identifier, f"sent by play {action['play']}, and received by nobody")
    _check_consent(evidence, folded, actions, tolerance, report)


def _check_consent(
    evidence: Evidence, folded: Input, actions: Mapping[str, Mapping[str, Any]], tolerance: Tolerance, report: Report
) -> None:
    plays = {play["play"]: play for play in evidence.plays}
    said = [one for one in folded.touchpoints if one.type in (_OPT_OUT, *_OPT_IN) and _concerns_mail(one)]
    for message in evidence.received or ():
        action = actions.get(message.action_id or "", {})
        play = plays.get(action.get("play", ""), {})
        if not _needs_consent(message, play):
            continue
        about = [one for one in said if _is_about(one, message, folded)]
        outs = [one for one in about if one.type == _OPT_OUT and one.arrived_at + tolerance.unsubscribe < message.at]
        if not outs:
            continue
        latest = max(outs, key=lambda one: one.order)
        if not any(one.type in _OPT_IN and one.order > latest.order for one in about):
            report.add(
                Kind.MESSAGE_AFTER_UNSUBSCRIBE, message.message_id,
                f"received {text_of(message.at)} by {message.to or message.customer_id}, who unsubscribed at "
                f"{text_of(latest.arrived_at)} ({'/'.join(latest.name)})",
            )  # fmt: skip


def _needs_consent(message: Received, play: Mapping[str, Any]) -> bool:
    limits = play.get("limits") or {}
    if play.get("transactional") or limits.get("consent") == "none":
        return False
    channel = limits.get("consent_channel")
    return channel in (None, "email") if message.kind == "mail" else channel == "email"


def _concerns_mail(touchpoint: Touchpoint) -> bool:
    return touchpoint.properties.get("channel", "email") in ("email", "all")


def _is_about(touchpoint: Touchpoint, message: Received, folded: Input) -> bool:
    if message.to is not None and touchpoint.identifiers.get("email") == message.to.strip().lower():
        return True
    root = folded.identities.roots.get(touchpoint.key, touchpoint.key)
    return message.customer_id is not None and message.customer_id in (root, touchpoint.key)
