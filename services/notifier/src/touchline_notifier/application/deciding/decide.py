"""From facts to actions: load customer histories, decide, write what was decided. All in the caller's transaction."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from touchline_runtime.tracing import Tracing
from touchline_schemas.events.facts import CustomerErased, CustomerMerged
from touchline_schemas.ids import action_id
from touchline_schemas.times import to_wire

from touchline_notifier.application.deciding.decision_traces import traced_again
from touchline_notifier.application.ports import Transaction
from touchline_notifier.core.decisions.action import Action, play_of
from touchline_notifier.core.decisions.customer_history import CustomerHistory
from touchline_notifier.core.decisions.decide import Decider
from touchline_notifier.core.decisions.decided import Decided
from touchline_notifier.core.decisions.fact_batches import fact_batches
from touchline_notifier.core.decisions.hold_reasons import CancelCode, cancellation
from touchline_notifier.core.decisions.outbox_records import action_event
from touchline_notifier.core.decisions.stage_events import Fact, LifecyclePosition, StageEvent, no_longer_wanted
from touchline_notifier.core.delivery.channel import Message
from touchline_notifier.core.delivery.endpoints import Endpoint
from touchline_notifier.core.delivery.message_ids import delivery_id
from touchline_notifier.core.delivery.subscriptions import Planned, for_subscribers
from touchline_notifier.core.limits.limits import Circumstances, consent_asked, writes_to_customer


@dataclass(frozen=True, slots=True)
class DecisionContext:
    """What every decision needs, built once.

    Attributes:
        partitions: of customer-keyed topics.
        to_customers: the channels that write to customers.
        tracing: writes a span for each decision on a traced fact.
        withdrawn: plays that were published and are not in force any more.
    """

    decider: Decider
    endpoints: Mapping[str, Endpoint]
    partitions: int
    to_customers: frozenset[str]
    tracing: Tracing | None = None
    withdrawn: frozenset[str] = frozenset()

    @property
    def widest_window(self) -> timedelta:
        """How far back actions have to be known to check any play's caps."""
        return max((play.widest_window for play in self.decider.plays.values()), default=timedelta(0))

    @property
    def writes_to_customers(self) -> bool:
        """Whether any play does, so that suppressions of an address matter, whichever partition they are on."""
        plays = self.decider.plays.values()
        return any(
            play.enabled and writes_to_customer(message, self.to_customers)
            for play in plays
            for message in play.messages
        )


@dataclass(slots=True)
class DecisionCounts:
    """What transactions decided, for metrics: outcome and reason code of each decision."""

    decisions: list[tuple[str, str]]
    subscriptions: int = 0

    def add(self, more: "DecisionCounts") -> None:
        """Add another transaction's counts."""
        self.decisions.extend(more.decisions)
        self.subscriptions += more.subscriptions


async def circumstances(tx: Transaction, context: DecisionContext, now: datetime, sending: bool) -> Circumstances:
    """The present circumstances. Sending is on when both the setting and the switch in the database say so."""
    switched_off = await tx.actions.sending_is_off()
    return Circumstances(now, sending and not switched_off, context.to_customers)


async def apply_events(
    tx: Transaction, events: Sequence[StageEvent], context: DecisionContext, partition: int, now: Circumstances
) -> DecisionCounts:
    """Decide on a partition's next facts, in order, and apply the merges and erasures between them."""
    work = _Writer(tx, context, partition, now)
    for batch in fact_batches(events):
        await work.facts([event.event for event in batch.facts if isinstance(event.event, Fact)])
        await work.merges_and_erasures(batch.news)
        await work.subscriptions([*batch.facts, *batch.news])
    return work.counts


async def decide_due(
    tx: Transaction,
    due: Sequence[tuple[str, str]],
    context: DecisionContext,
    partition: int,
    now: Circumstances,
) -> DecisionCounts:
    """Decide waiting actions whose time has come: pairs of customer and action id."""
    work = _Writer(tx, context, partition, now)
    await work.due(due)
    return work.counts


class _Writer:
    """Decides and writes in one transaction."""

    def __init__(self, tx: Transaction, context: DecisionContext, partition: int, now: Circumstances) -> None:
        self._tx = tx
        self._context = context
        self._decider = context.decider
        self._partition = partition
        self._now = now
        self.counts = DecisionCounts([])

    async def facts(self, facts: Sequence[Fact]) -> None:
        """Decide on facts that have no merge or erasure of their customers between them."""
        if not facts:
            return
        histories = await self._histories([fact.customer_id for fact in facts], facts)
        decided: list[Decided] = []
        recovered: list[Fact] = []
        for fact in facts:
            history = histories[fact.customer_id]
            if not history.positions.setdefault(fact.lifecycle, LifecyclePosition()).apply(fact):
                continue
            decided.extend(self._decider.decide(fact, history, self._now))
            if fact.type == "customer-recovered" and not fact.correction:
                recovered.append(fact)
        await self._tx.actions.save_positions(histories.values())
        await self._write(decided, histories.values())
        await self._cancel_retries(histories)
        await self._tx.actions.record_recoveries(recovered)

    async def merges_and_erasures(self, events: Sequence[StageEvent]) -> None:
        """Apply merges and erasures that have no customer in common."""
        merges = [event.event for event in events if isinstance(event.event, CustomerMerged)]
        erasures = [event.event for event in events if isinstance(event.event, CustomerErased)]
        reasons: dict[str, tuple[CancelCode, str]] = {
            merge.customer_id: ("merged", f"is now part of {merge.into}") for merge in merges
        }
        reasons |= {erasure.customer_id: ("erased", "the customer was erased") for erasure in erasures}
        histories = await self._histories(list(reasons))
        await self._write(
            [
                cancelled
                for customer_id, history in histories.items()
                for cancelled in self._decider.cancel_all(history, *reasons[customer_id], self._now.now)
            ],
            histories.values(),
        )
        if merges:
            await self._tx.customers.merge(merges, self._now.now)
        for erasure in erasures:
            await self._tx.customers.erase(erasure)

    async def due(self, due: Sequence[tuple[str, str]]) -> None:
        """Decide waiting actions again."""
        wanted = {ident for _, ident in due}
        histories = await self._histories([customer_id for customer_id, _ in due])
        found = [
            (history, [action for action in history.waiting if action.action_id in wanted])
            for history in histories.values()
        ]
        with traced_again(self._context.tracing, [action for _, actions in found for action in actions]):
            decided: list[Decided] = []
            for history, actions in found:
                decided.extend(self._decider.decide_again(actions, history, self._now))
                decided.extend(self._decider.wake(wanted, history, self._now))
            await self._write(decided, histories.values())

    async def subscriptions(self, events: Sequence[StageEvent]) -> None:
        """Create deliveries for endpoints that subscribe to facts, independent of plays."""
        subscribers = [endpoint for endpoint in self._context.endpoints.values() if endpoint.subscribe]
        if not subscribers:
            return
        planned = [
            delivery
            for event in events
            for delivery in for_subscribers(event.type, event.ce_id, event.data, subscribers, trace=event.trace)
        ]
        await self._tx.add_deliveries(self._partition, planned, due=self._now.now, now=self._now.now)
        self.counts.subscriptions += len(planned)

    async def _histories(self, customer_ids: Sequence[str], facts: Sequence[Fact] = ()) -> dict[str, CustomerHistory]:
        now = self._now.now
        return await self._tx.actions.histories(
            customer_ids,
            now,
            counted_since=now - self._context.widest_window,
            stalled={fact.customer_id for fact in facts if fact.type == "customer-stalled"},
            asked=[str(action_id(play.play, fact.id)) for fact in facts for play in self._decider.candidates(fact)],
        )

    async def _cancel_retries(self, histories: Mapping[str, CustomerHistory]) -> None:
        """Stop trying to deliver what the customers' newest facts made unwanted."""
        cancelled: list[Decided] = []
        for action in await self._tx.actions.retrying(list(histories)):
            play = self._decider.plays.get(action.play)
            history = histories[action.customer_id]
            if action.step is not None:
                # Written just before: it ended in this transaction, or in one before it.
                reason = cancellation(action.step.ended)
            elif play is not None and not play.exit:
                continue
            else:
                reason = no_longer_wanted(action.fact, history.positions.get(action.fact.lifecycle))
            if reason is not None:
                cancelled.append(self._decider.cancel(action, history, *reason, self._now.now))
        if cancelled:
            ids = [decided.action.action_id for decided in cancelled]
            await self._tx.actions.cancel_deliveries(ids, self._now.now)
            await self._write(cancelled, ())

    async def _write(self, decided: Sequence[Decided], histories: Iterable[CustomerHistory]) -> None:
        """Write runs and actions as they are now, the event of every decision, and deliveries of what was decided."""
        now, tx = self._now.now, self._tx
        runs = [run for history in histories for run in history.runs if run.touched]
        begun = {(run.customer_id, run.play): run.held_out for run in runs if not run.stored}
        await tx.runs.save(runs, self._partition)
        await tx.actions.save_assignments(begun, now)
        if not decided:
            return
        actions = {change.action.action_id: change.action for change in decided}
        await tx.actions.save(actions.values(), self._partition)
        published = [(change, change.event) for change in decided if change.event is not None]
        self.counts.decisions += [(event.outcome, change.action.reason_code or "none") for change, event in published]
        await tx.actions.save_assignments(_assignments(actions.values()), now)
        planned = [
            planned_delivery(change, self._context, now) for change, event in published if event.outcome == "decided"
        ]
        await tx.add_deliveries(self._partition, planned, due=now, now=now)
        await tx.append_outbox(self._partition, [action_event(event) for _, event in published])


def _assignments(actions: Iterable[Action]) -> dict[tuple[str, str], bool]:
    return {(action.customer_id, action.play): action.held_out for action in actions if action.held_out is not None}


def planned_delivery(decided: Decided, context: DecisionContext, now: datetime) -> Planned:
    """The delivery of a decision that was taken just now."""
    play = play_of(decided.action, context.decider.plays)
    assert play is not None, "it was decided by this play"
    consent = consent_asked(play, context.to_customers)
    action, event, rendered = decided.action, decided.event, decided.rendered
    assert event is not None, "a delivery follows a decision that is published"
    assert rendered is not None, "decided means rendered"
    assert action.endpoint is not None, "plays without an endpoint got their channel's only one"
    fact = action.fact
    ident = str(delivery_id(action.action_id, action.endpoint))
    data = {
        **event.model_dump(mode="json", exclude={"outcome", "reason", "sequence", "endpoint"}),
        "fact_type": fact.type,
        "from_stage": fact.from_stage,
        "move": fact.move,
        "level": fact.level,
        "occurred_at": to_wire(fact.at),
    }
    message = Message(
        delivery_id=ident,
        type="touchline.action",
        timestamp=to_wire(now),
        customer_id=action.customer_id,
        data={**{name: value for name, value in data.items() if value is not None}, **rendered.data},
        to=rendered.to,
        subject=rendered.subject,
        text=rendered.text,
        html=rendered.html,
        unsubscribe_url=rendered.unsubscribe_url,
        headers=rendered.headers,
        to_customer=writes_to_customer(play, context.to_customers),
        consent=consent[0] if consent else None,
        locale=rendered.locale,
        pixel_url=rendered.pixel_url,
        trace=fact.trace or None,
    )
    return Planned(
        ident, fact.id, action.customer_id, action.channel, action.endpoint, message, action.action_id,
        first_before=action.since + play.max_age,
    )  # fmt: skip
