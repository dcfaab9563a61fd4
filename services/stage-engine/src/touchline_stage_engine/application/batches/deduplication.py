"""Separates new touchpoints from repetitions, and chooses between different contents of one (source, id)."""

from collections.abc import Mapping, Sequence

from touchline_stage_engine.application.batches.conflicting_contents import ConflictingContents, content
from touchline_stage_engine.application.batches.folding import Folding
from touchline_stage_engine.application.batches.refolding import Work
from touchline_stage_engine.application.batches.touchpoint_outcomes import Outcomes
from touchline_stage_engine.application.identities.links import Identities
from touchline_stage_engine.application.ports import PartitionTables
from touchline_stage_engine.core.decoding import Arrival


class Deduplication:
    """One batch's deduplication. One use.

    Args:
        works: customer → what the batch adds; what is already known is removed from it.
        conflicts: collects copies of conflicting contents.
        outcomes: collects what became of dropped touchpoints.
    """

    def __init__(
        self,
        folding: Folding,
        works: Mapping[str, Work],
        conflicts: ConflictingContents,
        outcomes: Outcomes,
        identities: Identities,
    ) -> None:
        self._folding = folding
        self._works = works
        self._conflicts = conflicts
        self._outcomes = outcomes
        self._identities = identities
        self.replaced: list[tuple[int, str]] = []
        """(hash, customer) of stored touchpoints that a smaller content replaces."""

    async def run(self, tables: PartitionTables) -> None:
        """Keep of each customer's arrivals those that are new; uncertain ones are looked up in one query."""
        uncertain: list[tuple[int, str]] = []
        suspects: list[tuple[str, Work]] = []
        for key, work in self._works.items():
            beside = work.merged or work.restored
            if not beside and work.customer.remember_if_new([arrival.hash for arrival in work.arrivals]):
                continue
            suspects.append((key, work))
            known = work.customer.known
            for arrival in (*work.arrivals, *work.merged, *work.restored):
                deleted = self._conflicts.is_deleted(arrival.hash, key)
                if (known is None or arrival.hash in known) and not deleted:
                    uncertain.append((arrival.hash, key))
        stored = await tables.touchpoints.find(uncertain) if uncertain else {}
        for key, work in suspects:
            fresh: dict[int, Arrival] = {}
            # Restored copies were there first; later arrivals may replace them all the same.
            restored = self._sift(key, work, work.restored, fresh, stored, read=False)
            arrivals = self._sift(key, work, work.arrivals, fresh, stored, read=True)
            merged = self._sift(key, work, work.merged, fresh, stored, read=False)
            work.restored, work.arrivals, work.merged = (
                [arrival for arrival in kept if fresh[arrival.hash] is arrival] for kept in (restored, arrivals, merged)
            )
            for hash_ in fresh:
                work.customer.remember(hash_)

    def _sift(
        self,
        key: str,
        work: Work,
        arrivals: Sequence[Arrival],
        fresh: dict[int, Arrival],
        stored: Mapping[tuple[int, str], Arrival],
        *,
        read: bool,
    ) -> list[Arrival]:
        """Those that are new, or smaller than what has the same id; ``read``: from the touchpoints topic, or an alias.

        What was read under the customer's own key is counted once: as folded (when it is written) or as a duplicate.
        """
        counts = self._folding.changes.counts
        kept: dict[int, Arrival] = {}
        for arrival in arrivals:
            own = read and arrival.key == key
            earlier = fresh.get(arrival.hash)
            known = earlier is None and (found := stored.get((arrival.hash, key))) is not None
            if known:
                earlier = found
            if earlier is None:
                fresh[arrival.hash] = kept[arrival.hash] = arrival
                continue
            if earlier.touchpoint.id != arrival.touchpoint.id or earlier.touchpoint.source != arrival.touchpoint.source:
                self._refuse_collision(arrival)
                continue
            if own:
                counts["duplicates"] += 1
                self._outcomes.note(arrival.hash, "duplicate")
            before, after = content(earlier), content(arrival)
            if before == after:
                continue
            self._conflicts.note(key, (earlier, arrival))
            if key in (earlier.key, arrival.key):
                self._identities.links_in_doubt(key)
            if own:
                counts["conflicts"] += 1
                self._outcomes.note(arrival.hash, "conflict")
                self._folding.changes.conflicting[arrival.touchpoint.source, arrival.touchpoint.id] += 1
            if after >= before:
                continue
            # The smaller content is kept, whichever came first.
            if known:
                self.replaced.append((arrival.hash, key))
                work.customer.touchpoints -= 1
                work.replaced.append(earlier.touchpoint)
            # "folded" counts what is written under its own key. This arrival was counted as a duplicate above; the one
            # it replaces, if that is from this batch too, was not counted.
            counts["folded"] -= own
            counts["folded"] += not known and earlier.key == key and earlier not in work.restored
            fresh[arrival.hash] = kept[arrival.hash] = arrival
        return list(kept.values())

    def _refuse_collision(self, arrival: Arrival) -> None:
        # Two ids of one customer with the same 64-bit hash: this does not happen by chance.
        changes, touchpoint = self._folding.changes, arrival.touchpoint
        changes.poison["hash_collision"] += 1
        changes.counts["dead_letters"] += 1
        changes.outbox.append(
            self._folding.builder.dead_letter(
                arrival.key.encode(), repr(touchpoint).encode(), (), "hash_collision",
                "another touchpoint of this customer has the same hash of (source, id): send it under another id",
                f"{touchpoint.source}/{touchpoint.id}",
            )
        )  # fmt: skip
