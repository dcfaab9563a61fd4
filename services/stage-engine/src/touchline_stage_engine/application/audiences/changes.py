"""What changes in the membership of some customers, decided inside the partition's fenced transaction."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from touchline_stage_engine.application.audiences.values import Described, Membership, Standing
from touchline_stage_engine.application.outbox_records import Outgoing, RecordBuilder
from touchline_stage_engine.application.ports import PartitionTables
from touchline_stage_engine.core.audiences.audience import Audience

FILTER, DEFINITION, MERGE, ERASED, DELETED = "filter", "definition", "merge", "erased", "deleted"
"""Why a customer entered or left: something about them or the clock; the audience was changed; the key is part of
another customer; the customer was erased; the audience was deleted."""


@dataclass
class Applied:
    """What one transaction did.

    Attributes:
        entered, left: how many customers.
        waiting: customers who were left as they are: their summary is out of date.
        more: whether a deleted audience has more members.
    """

    entered: int = 0
    left: int = 0
    waiting: list[str] = field(default_factory=list)
    more: bool = False


def described(audience: Audience) -> Described:
    """What events say of an audience."""
    return Described(audience.name, audience.incarnation, audience.version)


async def apply_filter(
    tables: PartitionTables,
    builder: RecordBuilder,
    outbox: list[Outgoing],
    audience: Audience,
    customers: Sequence[str],
    now: int,
    *,
    evaluated: bool,
    overdue: Collection[str] = (),
) -> Applied:
    """Evaluate customers, and record and publish every difference from what is recorded.

    Args:
        audience: with the instant that its spans end at.
        now: the clock, for what is recorded.
        evaluated: whether every customer of the partition was evaluated by this version before: a difference then comes
            from the customer or the clock, else from the definition.
        overdue: customers who are evaluated although their summary is out of date.
    """
    done, changed = Applied(), []
    for standing in await tables.audiences.standings(audience, customers):
        if not standing.summarised and standing.customer_id not in overdue:
            done.waiting.append(standing.customer_id)
        elif standing.differs:
            membership = _changed(audience, standing, now)
            kind = MERGE if standing.merged else FILTER if evaluated else DEFINITION
            outbox.append(builder.audience_change(described(audience), membership, kind, audience.filter.now))
            changed.append(membership)
    if changed:
        done.entered = sum(membership.member for membership in changed)
        done.left = len(changed) - done.entered
        await tables.audiences.save(changed)
        await tables.audiences.count(audience.id, done.entered - done.left, audience.filter.now)
    return done


def _changed(audience: Audience, standing: Standing, now: int) -> Membership:
    return Membership(
        audience.id, standing.customer_id, standing.incarnation or 0, standing.change_no + 1, standing.matches, now
    )


async def clear_deleted(
    tables: PartitionTables, builder: RecordBuilder, outbox: list[Outgoing], audience: Audience, now: int, limit: int
) -> Applied:
    """Let the next members of a deleted audience leave."""
    recorded = await tables.audiences.recorded(audience.id, limit)
    done = Applied(more=len(recorded) == limit)
    for membership in recorded:
        if membership.member:
            left = membership._replace(change_no=membership.change_no + 1, member=False, changed_at=now)
            outbox.append(builder.audience_change(described(audience), left, DELETED, now))
            done.left += 1
    if recorded:
        await tables.audiences.remove(audience.id, [membership.customer_id for membership in recorded])
    if done.more:
        await tables.audiences.count(audience.id, -done.left, 0)
    else:
        await tables.audiences.remove_progress(audience.id)
    return done


async def forget_customer(
    tables: PartitionTables, builder: RecordBuilder, outbox: list[Outgoing], customer_id: str, erased_at: int, now: int
) -> None:
    """Let a customer who is being erased leave every audience; the rows are deleted with those of other tables."""
    memberships = await tables.audiences.memberships_of(customer_id)
    for audience, membership in memberships:
        left = membership._replace(change_no=membership.change_no + 1, member=False, changed_at=now)
        outbox.append(builder.audience_change(audience, left, ERASED, erased_at))
    for _, membership in memberships:
        await tables.audiences.count(membership.audience, -1, 0)
