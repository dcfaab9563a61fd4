"""One batch of one partition: gathered, deduplicated, folded, and written in one fenced transaction."""

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any

from touchline_schemas.partitions import partition_of

from touchline_stage_engine.application.batches.changes import YIELD_EVERY, Changes, touchpoint_row
from touchline_stage_engine.application.batches.conflicting_contents import ConflictingContents
from touchline_stage_engine.application.batches.customers import Cache, Customer
from touchline_stage_engine.application.batches.deduplication import Deduplication
from touchline_stage_engine.application.batches.erasure import Erasures, link_only, link_removal
from touchline_stage_engine.application.batches.folding import Folding
from touchline_stage_engine.application.batches.refolding import Work, refold_all
from touchline_stage_engine.application.batches.touchpoint_outcomes import Outcomes
from touchline_stage_engine.application.hot_path import IN_PYTHON, HotPath
from touchline_stage_engine.application.identities.links import Identities
from touchline_stage_engine.application.identities.messages import (
    ERASE_REQUESTED,
    REBUILD_REQUESTED,
    TRANSFERRED,
    WITHDRAWN,
    Message,
    read_messages,
    transferred_arrivals,
)
from touchline_stage_engine.application.outbox_records import RecordBuilder
from touchline_stage_engine.application.ports import PartitionTables
from touchline_stage_engine.core.decoding import Arrival, Poison


class Batch:
    """Folds the records of one poll: `gather` and deduplicate before, `apply` inside the fenced transaction. One use.

    Customers in the cache are changed on the way: when anything fails, the cache must be discarded.
    """

    def __init__(
        self,
        partition: int,
        partitions: int,
        folding: Folding,
        cache: Cache,
        erasures: Erasures,
        now: int,
        shared_key_limit: int,
        hot_path: HotPath = IN_PYTHON,
    ) -> None:
        self._partition = partition
        self._partitions = partitions
        self._hot_path = hot_path
        self._folding = folding
        self._changes = folding.changes = Changes()
        self._cache = cache
        self._erasures = erasures
        self._now = now
        self._customers: dict[str, Customer] = {}
        self._identities = Identities(folding, self.customer, self._customers.__getitem__, shared_key_limit)
        self._work: dict[str, Work] = {}
        self._messages: list[Message] = []
        self._replaced: list[tuple[int, str]] = []
        self._declined: list[Message] = []
        """Requests that erase nothing."""
        self._conflicts = ConflictingContents()
        self._outcomes = Outcomes()

    @property
    def changes(self) -> Changes:
        """What is to be written."""
        return self._changes

    @property
    def builder(self) -> RecordBuilder:
        """Builds the records that are to be published."""
        return self._folding.builder

    @property
    def used(self) -> Iterable[str]:
        """The customers this batch concerned."""
        return self._customers

    def release(self) -> None:
        """Drop all references: the parts refer to each other and would stay until the next garbage collection."""
        self._changes = self._folding.changes = Changes()
        self._work, self._customers, self._messages = {}, {}, []
        del self._identities

    def customer(self, key: str) -> Customer:
        """A customer of this batch, who is then written back."""
        customer = self._customers[key]
        self._changes.customers[key] = customer
        return customer

    async def gather(self, tables: PartitionTables, touchpoints: Sequence[Any], identity: Sequence[Any] = ()) -> None:
        """Decode records, load the customers they concern, and drop what is stored already."""
        by_key: dict[str, list[Arrival]] = {}
        decode = self._hot_path.decode
        for index, record in enumerate(touchpoints):
            if index % YIELD_EVERY == 0:
                await asyncio.sleep(0)
            arrival = decode(record.value, record.key)
            if isinstance(arrival, Poison):
                self.reject(record, arrival)
            elif (found := by_key.get(arrival.key)) is not None:
                found.append(arrival)
            elif self._is_ours(arrival.key):
                by_key[arrival.key] = [arrival]
            else:
                self.reject(record, self._elsewhere(arrival.key))
        read = 0
        for record in identity:
            if read >= YIELD_EVERY:
                await asyncio.sleep(0)
                read = 0
            messages = read_messages(record)
            read += 1 if isinstance(messages, Poison) else len(messages)
            if isinstance(messages, Poison):
                self.reject(record, messages)
            elif messages[0].kind != REBUILD_REQUESTED and not self._is_ours(messages[0].recipient):
                self.reject(record, self._elsewhere(messages[0].recipient))
            else:
                self._messages += messages
        recipients = {message.recipient for message in self._messages if message.kind != REBUILD_REQUESTED}
        await self.load(tables, [*by_key, *(key for key in recipients if key not in by_key)])
        self._drop_erased(by_key)
        # In the order of the indexes by customer: rows of a batch that are near each other there are written together.
        for key in sorted(by_key):
            self._work[key] = Work(self._customers[key], by_key[key])
        for message in self._messages:
            if message.kind == TRANSFERRED:
                self._take_transfer(message)
            elif message.kind == WITHDRAWN:
                self._take_withdrawal(message)
        for index, message in enumerate(self._messages):
            # A batch has no other record of a key that it erases, so whose alias the key is stays as it is until then.
            if message.kind == ERASE_REQUESTED and link_only(message, self._customers[message.recipient]):
                self._declined.append(message)
                self._messages[index] = link_removal(message)
        await self._identities.load(tables, by_key, self._messages)
        await self._find_copies_to_restore(tables)
        deduplication = Deduplication(self._folding, self._work, self._conflicts, self._outcomes, self._identities)
        await deduplication.run(tables)
        self._replaced = deduplication.replaced

    async def _find_copies_to_restore(self, tables: PartitionTables) -> None:
        """Find the copies by other keys of what is withdrawn: the smallest of them replaces it."""
        conflicts = self._conflicts
        if not conflicts.withdrawn:
            return
        conflicts.deleted = set(await tables.touchpoints.find_transferred(conflicts.withdrawn))
        if conflicts.deleted:
            for customer_id, copy in await tables.touchpoints.find_copies(conflicts.deleted):
                if (customer_id, copy.key) not in conflicts.withdrawn:
                    self._work[customer_id].restored.append(copy)

    def _is_ours(self, key: str) -> bool:
        return self._cache.get(key) is not None or partition_of(key, self._partitions) == self._partition

    def _elsewhere(self, key: str) -> Poison:
        return Poison(
            "wrong_partition",
            f"{key!r} belongs on partition {partition_of(key, self._partitions)}: "
            "use Kafka's default partitioner (murmur2 of the key)",
        )

    def reject(self, record: Any, poison: Poison, *, with_headers: bool = True) -> None:
        """Publish a record as a dead letter."""
        changes = self._changes
        changes.poison[poison.reason] += 1
        changes.counts["dead_letters"] += 1
        origin = f"{record.topic}/{record.partition}/{record.offset}"
        self._outcomes.refuse(record.value, poison, origin)
        changes.outbox.append(
            self._folding.builder.dead_letter(
                record.key, record.value, record.headers if with_headers else (), poison.reason, poison.error, origin
            )
        )

    async def load(self, tables: PartitionTables, keys: Sequence[str]) -> None:
        """Bring customers into memory, including new ones."""
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
        found = await tables.customers.load(missing, folding.folds, folding.generation, folding.generations)
        new = [key for key in missing if key not in found]
        remembered = await self._erasures.find(tables, new)
        for key in new:
            customer = found[key] = folding.new_customer(key)
            if (erased := remembered.get(key)) is not None:
                customer.erased_before, customer.incarnation, customer.merges = erased
        for key, customer in found.items():
            self._cache.add(customer)
            self._customers[key] = customer

    def _drop_erased(self, by_key: dict[str, list[Arrival]]) -> None:
        for key in list(by_key):
            customer = self._customers[key]
            if customer.erased_before is not None:
                kept = []
                for arrival in by_key[key]:
                    if customer.has_erased(arrival.touchpoint):
                        self._outcomes.note(arrival.hash, "erased")
                    else:
                        kept.append(arrival)
                self._changes.counts["erased"] += len(by_key[key]) - len(kept)
                by_key[key] = kept

    def _take_transfer(self, message: Message) -> None:
        customer, data = self._customers[message.recipient], message.data
        arrivals = transferred_arrivals(data)
        if customer.erased_before is not None:
            arrivals = [arrival for arrival in arrivals if not customer.has_erased(arrival.touchpoint)]
        self._changes.aliases.append((customer.customer_id, data["alias"]))
        work = self._work.setdefault(message.recipient, Work(customer, []))
        if data["bulk"]:
            work.merged += arrivals
        else:
            work.arrivals += arrivals

    def _take_withdrawal(self, message: Message) -> None:
        """Delete what an alias had transferred before: it belongs to another customer."""
        customer, alias = self._customers[message.recipient], message.data["alias"]
        pair = (customer.customer_id, alias)
        self._conflicts.withdraw(*pair)
        self._changes.aliases = [alias for alias in self._changes.aliases if alias != pair]
        work = self._work.setdefault(message.recipient, Work(customer, []))
        work.arrivals = [arrival for arrival in work.arrivals if arrival.key != alias]
        work.merged = [arrival for arrival in work.merged if arrival.key != alias]
        work.from_scratch = "merge"

    async def apply(self, tables: PartitionTables, caught_up_at: int | None) -> None:
        """Fold everything. Touchpoints are written here, the rest is left in `changes`."""
        await self._collect_touchpoints()
        await self._write_touchpoints(tables)
        await self._identities.relink(tables)
        await self._fold(tables, caught_up_at)
        await self._carry_out_requests(tables)
        self._identities.finish()
        await self._forget_aliases(tables)
        for key in await self._erasures.erase_emptied(tables, self._folding, self._now):
            self._cache.drop(key)

    async def _collect_touchpoints(self) -> None:
        """Make rows of what is new, and note the links that it and the messages report."""
        changes = self._changes
        rows, folded = changes.touchpoints, 0
        for index, (key, work) in enumerate(self._work.items()):
            if index % YIELD_EVERY == 0:
                await asyncio.sleep(0)
            customer = self.customer(key)
            for arrival in work.arrivals:
                if arrival.others or arrival.previous:
                    self._identities.note(customer, arrival)
                rows.append(touchpoint_row(key, arrival))
                # What an alias handed over was counted by the alias's owner.
                folded += arrival.key == key
            rows += [touchpoint_row(key, arrival) for arrival in (*work.merged, *work.restored)]
        changes.counts["folded"] += folded
        for index, message in enumerate(self._messages):
            if index % YIELD_EVERY == 0:
                await asyncio.sleep(0)
            if message.kind not in (TRANSFERRED, WITHDRAWN, ERASE_REQUESTED, REBUILD_REQUESTED):
                self._identities.receive(message)

    async def _write_touchpoints(self, tables: PartitionTables) -> None:
        """Before any refold reads them."""
        if self._replaced:
            await tables.touchpoints.delete(self._replaced)
        withdrawn = self._conflicts.withdrawn
        if withdrawn:
            for customer_id, _ in withdrawn:
                self.customer(customer_id).known = None
            for customer_id in await tables.touchpoints.delete_transferred(withdrawn):
                self.customer(customer_id).touchpoints -= 1
        await tables.touchpoints.add(self._changes.touchpoints)
        if self._conflicts.copies:
            await tables.touchpoints.save_copies(self._conflicts.copies)
        if self._outcomes.noted:
            await tables.touchpoints.save_outcomes(self._outcomes.noted, self._now)

    async def _fold(self, tables: PartitionTables, caught_up_at: int | None) -> None:
        """Settle who is whose alias, fold customers, and report to other keys what they have to know."""
        await self._identities.settle(tables, self._now)
        for key in self._identities.returned:
            work = self._work.setdefault(key, Work(self._customers[key], []))
            work.from_scratch = "merge"
        await refold_all(tables, self._folding, list(self._work.values()), self._now, caught_up_at)
        await self._identities.report(tables, self._work)
        await self._identities.transfer(tables, self._work)

    async def _carry_out_requests(self, tables: PartitionTables) -> None:
        """Erase customers, and count rebuilds."""
        for message in self._declined:
            await self._erasures.decline(tables, message, self._now)
        for message in self._messages:
            if message.kind == ERASE_REQUESTED:
                customer = self.customer(message.recipient)
                if customer.identity is not None:
                    await self._identities.load_all(tables, customer)
                anew = await self._erasures.erase(tables, self._folding, message, customer, self._now)
                if anew is not None:
                    self._cache.add(anew)
                    self._customers[message.recipient] = anew
                    if anew.touchpoints:
                        self._identities.links_in_doubt(message.recipient)
            elif message.kind == REBUILD_REQUESTED:
                self._changes.rebuilds += 1
        # Touchpoints that occurred after an erasure make its links again.
        await self._identities.relink(tables)
        await self._identities.settle(tables, self._now)
        await self._identities.report(tables, {})
        await self._identities.transfer(tables, {})

    async def _forget_aliases(self, tables: PartitionTables) -> None:
        """Delete the history of new aliases: it is part of their root's now."""
        gone = self._changes.forgotten
        if gone:
            self._changes.history = [row for row in self._changes.history if row[0] not in gone]
            self._changes.checkpoints = [row for row in self._changes.checkpoints if row[0] not in gone]
            await tables.history.delete_of(list(gone))

    async def fire_timers(self, tables: PartitionTables, keys: Sequence[str], until: int, settled: int) -> None:
        """Fire what is due of these customers, and compute when each is due next.

        Args:
            until: up to when the touchpoints of customers without links are known.
            settled: the same for customers with links.
        """
        stale = [Work(self.customer(key), []) for key in keys if self._customers[key].stale]
        if stale:
            await refold_all(tables, self._folding, stale, self._now, until)
        for key in keys:
            customer = self.customer(key)
            self._folding.fire(customer, until if customer.identity is None else settled)
            customer.wake_at = None

    async def settle_again(self, tables: PartitionTables, keys: Sequence[str]) -> None:
        """Settle keys again, because the limit of shared keys has changed."""
        await self.load(tables, keys)
        self._identities.settle_again(keys)
        await self._identities.settle(tables, self._now)
        for key in self._identities.returned:
            self._work[key] = Work(self.customer(key), [], from_scratch="merge")
        await refold_all(tables, self._folding, list(self._work.values()), self._now, None)
        await self._identities.report(tables, self._work)
        await self._identities.transfer(tables, {})
        self._identities.finish()
        await self._forget_aliases(tables)

    async def refold_stale(self, tables: PartitionTables, keys: Sequence[str], caught_up_at: int | None) -> None:
        """Fold customers again that were folded under other definitions."""
        await self.load(tables, keys)
        works = [Work(self.customer(key), []) for key in keys if self._customers[key].stale]
        await refold_all(tables, self._folding, works, self._now, caught_up_at)
