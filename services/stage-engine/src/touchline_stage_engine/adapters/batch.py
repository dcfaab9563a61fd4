"""One batch of one partition: gathered, deduplicated, folded, and written in one fenced transaction."""

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any

import asyncpg
import structlog
from touchline_schemas.partitions import partition_of

from touchline_stage_engine.adapters import statements, store
from touchline_stage_engine.adapters.changes import Changes, read_arrival, touchpoint_row
from touchline_stage_engine.adapters.contested import Contested, content
from touchline_stage_engine.adapters.customers import Cache, Customer
from touchline_stage_engine.adapters.decoding import Arrival, Poison, decode
from touchline_stage_engine.adapters.erasing import Erasures
from touchline_stage_engine.adapters.fates import Fates
from touchline_stage_engine.adapters.folding import Folding
from touchline_stage_engine.adapters.identities import Identities
from touchline_stage_engine.adapters.messages import (
    ERASE_REQUESTED,
    REBUILD_REQUESTED,
    TRANSFERRED,
    WITHDRAWN,
    Message,
    read_message,
    transferred_arrivals,
)
from touchline_stage_engine.adapters.refolding import Work, refold_all
from touchline_stage_engine.core.identity import weigh

log = structlog.get_logger(__name__)


class Batch:
    """Gathers a poll's records, then folds them. One use.

    Usage: `gather` (reads the database), then inside the fence `apply` (reads and folds, writes the touchpoints).
    Memory is changed on the way: when anything fails, the cache must be thrown away.
    """

    def __init__(
        self, partition: int, partitions: int, folding: Folding, cache: Cache, erasures: Erasures, now: int
    ) -> None:
        self._partition = partition
        self._partitions = partitions
        self._folding = folding
        self._changes = folding.changes = Changes()
        self._cache = cache
        self._erasures = erasures
        self._now = now
        self._customers: dict[str, Customer] = {}
        self._identities = Identities(folding, self.customer, self._customers.__getitem__)
        self._work: dict[str, Work] = {}
        self._messages: list[Message] = []
        self._replaced: list[tuple[int, str]] = []
        self._contested = Contested()
        self._fates = Fates()

    @property
    def changes(self) -> Changes:
        """What is to be written."""
        return self._changes

    @property
    def used(self) -> Iterable[str]:
        """The customers this batch concerned."""
        return self._customers

    def release(self) -> None:
        """Let go of everything: the parts refer to each other, and would stay until the collector comes round."""
        self._changes = self._folding.changes = Changes()
        self._work, self._customers, self._messages = {}, {}, []
        del self._identities

    def customer(self, key: str) -> Customer:
        """A customer of this batch, to be written back."""
        customer = self._customers[key]
        self._changes.customers[key] = customer
        return customer

    # --- gathering ---------------------------------------------------------------------------------------------------

    async def gather(
        self, connection: asyncpg.Connection, touchpoints: Sequence[Any], identity: Sequence[Any] = ()
    ) -> None:
        """Decode records, load the customers they concern, and drop what is stored already."""
        by_key: dict[str, list[Arrival]] = {}
        for place, record in enumerate(touchpoints):
            if place % store.BREATH == 0:
                await asyncio.sleep(0)
            arrival = decode(record.value, record.key)
            if isinstance(arrival, Poison):
                self._bury(record, arrival)
            elif (found := by_key.get(arrival.key)) is not None:
                found.append(arrival)
            elif self._is_ours(arrival.key):
                by_key[arrival.key] = [arrival]
            else:
                self._bury(
                    record,
                    Poison(
                        "wrong_partition",
                        f"{arrival.key!r} belongs on partition {partition_of(arrival.key, self._partitions)}: "
                        "use Kafka's default partitioner (murmur2 of the key)",
                    ),
                )
        for record in identity:
            message = read_message(record)
            if isinstance(message, Poison):
                self._bury(record, message)
            else:
                self._messages.append(message)
        recipients = {message.recipient for message in self._messages if message.kind != REBUILD_REQUESTED}
        await self.load(connection, [*by_key, *(key for key in recipients if key not in by_key)])
        self._drop_erased(by_key)
        for key, arrivals in by_key.items():
            self._work[key] = Work(self._customers[key], arrivals)
        for message in self._messages:
            if message.kind == TRANSFERRED:
                self._take_transfer(message)
            elif message.kind == WITHDRAWN:
                self._take_withdrawal(message)
        for customer_id, copy in await self._contested.look_up(connection):
            self._work[customer_id].restored.append(copy)
        await self._deduplicate(connection)

    def _is_ours(self, key: str) -> bool:
        return self._cache.get(key) is not None or partition_of(key, self._partitions) == self._partition

    def _bury(self, record: Any, poison: Poison) -> None:
        changes = self._changes
        changes.poison[poison.reason] += 1
        changes.counts["dead_letters"] += 1
        origin = f"{record.topic}/{record.partition}/{record.offset}"
        self._fates.refuse(record.value, poison, origin)
        changes.outbox.append(
            self._folding.publisher.dead_letter(
                record.key, record.value, record.headers, poison.reason, poison.error, origin
            )
        )

    async def load(self, connection: asyncpg.Connection, keys: Sequence[str]) -> None:
        """Bring customers into memory, new ones too."""
        missing = []
        for key in keys:
            customer = self._cache.get(key)
            if customer is None:
                missing.append(key)
            else:
                self._customers[key] = customer
        if not missing:
            return
        folding = self._folding
        found = await store.load_customers(connection, self._partition, missing, folding.folds, folding.generation)
        new = [key for key in missing if key not in found]
        remembered = await self._erasures.find(connection, new)
        for key in new:
            customer = found[key] = folding.new_customer(key)
            if (erased := remembered.get(key)) is not None:
                customer.erased_before, customer.incarnation, customer.merges = erased
        for key, customer in found.items():
            self._cache.add(customer)
            self._customers[key] = customer

    def _drop_erased(self, by_key: dict[str, list[Arrival]]) -> None:
        for key in list(by_key):
            before = self._customers[key].erased_before
            if before is not None:
                kept = [arrival for arrival in by_key[key] if arrival.touchpoint.occurred_at >= before]
                for arrival in by_key[key]:
                    if arrival.touchpoint.occurred_at < before:
                        self._fates.note(arrival.hash, "erased")
                self._changes.counts["erased"] += len(by_key[key]) - len(kept)
                by_key[key] = kept

    def _take_transfer(self, message: Message) -> None:
        customer, data = self._customers[message.recipient], message.data
        arrivals = transferred_arrivals(data)
        if customer.erased_before is not None:
            before = customer.erased_before
            arrivals = [arrival for arrival in arrivals if arrival.touchpoint.occurred_at >= before]
        self._changes.aliases.append((customer.customer_id, data["alias"]))
        work = self._work.setdefault(message.recipient, Work(customer, []))
        work.fired_through = max(work.fired_through, data["fired_through"])
        if data["bulk"]:
            work.merged += arrivals
        else:
            work.arrivals += arrivals

    def _take_withdrawal(self, message: Message) -> None:
        """Give back what an alias had handed over before: it belongs to somebody else."""
        customer, alias = self._customers[message.recipient], message.data["alias"]
        pair = (customer.customer_id, alias)
        self._contested.withdraw(*pair)
        self._changes.aliases = [one for one in self._changes.aliases if one != pair]
        work = self._work.setdefault(message.recipient, Work(customer, []))
        work.arrivals = [arrival for arrival in work.arrivals if arrival.key != alias]
        work.merged = [arrival for arrival in work.merged if arrival.key != alias]
        work.from_scratch = "merge"

    # --- telling repetitions from news -------------------------------------------------------------------------------

    async def _deduplicate(self, connection: asyncpg.Connection) -> None:
        """Keep of each customer's arrivals those that are new; what is in doubt is looked up in one query."""
        doubtful: list[tuple[int, str]] = []
        suspects: list[tuple[str, Work]] = []
        for key, work in self._work.items():
            beside = work.merged or work.restored
            if not beside and work.customer.remember_if_new([arrival.hash for arrival in work.arrivals]):
                continue
            suspects.append((key, work))
            known = work.customer.known
            for arrival in (*work.arrivals, *work.merged, *work.restored):
                gone = self._contested.is_gone(arrival.hash, key)
                if (known is None or arrival.hash in known) and not gone:
                    doubtful.append((arrival.hash, key))
        stored = await store.find_touchpoints(connection, doubtful)
        for key, work in suspects:
            fresh: dict[int, Arrival] = {}
            # What was restored came first of all; what came later may take its place all the same.
            restored = self._sift(key, work, work.restored, fresh, stored, read=False)
            arrivals = self._sift(key, work, work.arrivals, fresh, stored, read=True)
            merged = self._sift(key, work, work.merged, fresh, stored, read=False)
            work.restored, work.arrivals, work.merged = (
                [arrival for arrival in one if fresh[arrival.hash] is arrival] for one in (restored, arrivals, merged)
            )
            for hash_ in fresh:
                work.customer.remember(hash_)

    def _sift(
        self,
        key: str,
        work: Work,
        arrivals: Sequence[Arrival],
        fresh: dict[int, Arrival],
        stored: dict[tuple[int, str], Any],
        *,
        read: bool,
    ) -> list[Arrival]:
        """Those that are new, or smaller than what has the same id; ``read``: from the touchpoints topic, or an alias.

        What was read under the customer's own key is counted once, as folded (when it is written) or as a duplicate.
        """
        counts = self._changes.counts
        kept: dict[int, Arrival] = {}
        for arrival in arrivals:
            own = read and arrival.key == key
            earlier = fresh.get(arrival.hash)
            known = earlier is None and (row := stored.get((arrival.hash, key))) is not None
            if known:
                earlier = read_arrival(row, key)
            if earlier is None:
                fresh[arrival.hash] = kept[arrival.hash] = arrival
                continue
            if earlier.touchpoint.id != arrival.touchpoint.id or earlier.touchpoint.source != arrival.touchpoint.source:
                self._refuse_collision(arrival)
                continue
            if own:
                counts["duplicates"] += 1
                self._fates.note(arrival.hash, "duplicate")
            before, after = content(earlier), content(arrival)
            if before == after:
                continue
            self._contested.note(key, (earlier, arrival))
            if key in (earlier.key, arrival.key):
                self._identities.links_in_doubt(key)
            if own:
                counts["conflicts"] += 1
                self._fates.note(arrival.hash, "conflict")
                log.warning(
                    "touchpoint_conflict", source=arrival.touchpoint.source, touchpoint_id=arrival.touchpoint.id
                )
            if after >= before:
                continue
            # The smaller content stays, whichever came first.
            if known:
                self._replaced.append((arrival.hash, key))
                work.customer.touchpoints -= 1
                work.replaced.append(earlier.touchpoint)
            # As folded counts what is written and own. This one was counted above; one whose place it takes was not.
            counts["folded"] -= own
            counts["folded"] += not known and earlier.key == key and earlier not in work.restored
            fresh[arrival.hash] = kept[arrival.hash] = arrival
        return list(kept.values())

    def _refuse_collision(self, arrival: Arrival) -> None:
        # Two ids with one 64-bit hash for one customer: nobody meets it by chance.
        self._changes.poison["hash_collision"] += 1
        self._changes.counts["dead_letters"] += 1
        touchpoint = arrival.touchpoint
        self._changes.outbox.append(
            self._folding.publisher.dead_letter(
                arrival.key.encode(), repr(touchpoint).encode(), (), "hash_collision",
                "another touchpoint of this customer has the same hash of (source, id): send it under another id",
                f"{touchpoint.source}/{touchpoint.id}",
            )
        )  # fmt: skip

    # --- folding, inside the fence -----------------------------------------------------------------------------------

    async def apply(self, connection: asyncpg.Connection, caught_up_at: int | None) -> None:
        """Fold everything; touchpoints are written here, the rest is left in `changes`."""
        changes = self._changes
        rows, folded = changes.touchpoints, 0
        for key, work in self._work.items():
            customer = self.customer(key)
            for arrival in work.arrivals:
                if arrival.others:
                    self._note_links(customer, arrival)
                rows.append(touchpoint_row(key, arrival))
                # What an alias handed over was counted by the alias's owner.
                folded += arrival.key == key
            rows += [touchpoint_row(key, arrival) for arrival in (*work.merged, *work.restored)]
        changes.counts["folded"] += folded
        for message in self._messages:
            if message.kind not in (TRANSFERRED, WITHDRAWN, ERASE_REQUESTED, REBUILD_REQUESTED):
                self._identities.receive(message, self._now)
        if self._replaced:
            await connection.execute(
                statements.DELETE_TOUCHPOINTS,
                [hash_ for hash_, _ in self._replaced],
                [customer_id for _, customer_id in self._replaced],
            )
        for customer_id, lost in (await self._contested.write_withdrawals(connection)).items():
            customer = self.customer(customer_id)
            customer.touchpoints -= lost
            customer.known = None
        await store.copy_touchpoints(connection, changes)
        await self._contested.write_copies(connection)
        await self._fates.write(connection, self._now)
        await self._identities.relink(connection, self._now)
        for key in self._identities.returned:
            work = self._work.setdefault(key, Work(self._customers[key], []))
            work.from_scratch = "merge"
        await refold_all(connection, self._folding, list(self._work.values()), self._now, caught_up_at)
        await self._identities.hand_over(connection, self._work)
        for message in self._messages:
            if message.kind == ERASE_REQUESTED:
                customer = self.customer(message.recipient)
                anew = await self._erasures.erase(connection, self._folding, message, customer)
                if anew is not None:
                    self._cache.add(anew)
                    self._customers[message.recipient] = anew
                    if anew.touchpoints:
                        self._identities.links_in_doubt(message.recipient)
            elif message.kind == REBUILD_REQUESTED:
                changes.rebuilds += 1
        # What occurred after an erasure makes its links again.
        await self._identities.relink(connection, self._now)
        await self._identities.hand_over(connection, {})
        await self._forget_aliases(connection)

    async def _forget_aliases(self, connection: asyncpg.Connection) -> None:
        """New aliases have no history of their own any more."""
        gone = self._changes.forgotten
        if gone:
            self._changes.history = [row for row in self._changes.history if row[0] not in gone]
            self._changes.checkpoints = [row for row in self._changes.checkpoints if row[0] not in gone]
            await connection.execute(statements.DELETE_HISTORY_OF, list(gone))
            await connection.execute(statements.DELETE_CHECKPOINTS_OF, list(gone))

    def _note_links(self, customer: Customer, arrival: Arrival) -> None:
        touchpoint = arrival.touchpoint
        if arrival.key != customer.customer_id or touchpoint.machine:
            return
        for other in arrival.others:
            weight = weigh(touchpoint.occurred_at, touchpoint.id, touchpoint.source, customer.customer_id, other)
            self._identities.link(customer, other, weight, self._now)

    async def fire_timers(self, connection: asyncpg.Connection, keys: Sequence[str], until: int) -> None:
        """Fire what is due of these customers, and note when each is to be woken next."""
        await self.load(connection, keys)
        stale = [Work(self.customer(key), []) for key in keys if self._customers[key].stale]
        if stale:
            await refold_all(connection, self._folding, stale, self._now, until)
        for key in keys:
            customer = self.customer(key)
            self._folding.fire(customer, until)
            customer.wake_at = None

    async def refold_stale(self, connection: asyncpg.Connection, keys: Sequence[str], caught_up_at: int | None) -> None:
        """Fold customers again who were folded under other definitions."""
        await self.load(connection, keys)
        works = [Work(self.customer(key), []) for key in keys if self._customers[key].stale]
        await refold_all(connection, self._folding, works, self._now, caught_up_at)
