"""The demo from beginning to end: premises, months of touchpoints, live scenes, and sums that must add up."""

import asyncio
import heapq
import json
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
from rich.live import Live

from touchline_devstack.demo import show as views
from touchline_devstack.demo.company import NAME, Company
from touchline_devstack.demo.database import folded
from touchline_devstack.demo.doors import Answers, ApiDoor, Door, DoorError
from touchline_devstack.demo.history import ImportDoor
from touchline_devstack.demo.kit import HISTORY
from touchline_devstack.demo.live import LiveDay
from touchline_devstack.demo.people import CRM, DESK, MAILER, SHOP, Deed, Mistake, Person
from touchline_devstack.demo.phases import Phases, divide
from touchline_devstack.demo.show import Show
from touchline_devstack.demo.site import Site
from touchline_devstack.demo.stories import tell
from touchline_devstack.demo.summary import Counted, faults, summary
from touchline_devstack.demo.vendor_doors import HubSpotDoor, SegmentDoor, SendGridDoor
from touchline_devstack.demo.witness import Witness

STORY_LIFECYCLE = "service-cycle"
_SCENES_A_SECOND = 1.2
_SCENES_FOR = 15.0
"""With --once: seconds in which scenes begin; then those that are under way play to their end."""
_LAST_SCENE = 25.0
_SETTLE_SECONDS = 90.0
_STILL_SECONDS = 3.0
_COUNTS = 4
_TRY = 25


class DoesNotAddUp(Exception):  # noqa: N818 - it is the finding, not a fault of the demo
    """The demo ran, and its numbers are wrong."""

    def __init__(self, reasons: list[str]) -> None:
        super().__init__("the numbers don't add up:\n  " + "\n  ".join(reasons))
        self.reasons = reasons


@asynccontextmanager
async def beside(work: Coroutine[Any, Any, None]) -> AsyncIterator[asyncio.Task[None]]:
    """Let something run beside the block, and to its end; a block that fails ends it."""
    task = asyncio.create_task(work)
    try:
        yield task
        await task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@dataclass
class Options:
    """What the command line says."""

    once: bool
    customers: int
    seed: int


@dataclass
class Demo:
    """One run, on premises that are up."""

    site: Site
    show: Show
    options: Options
    stop: asyncio.Event
    answers: Answers = field(default_factory=Answers)
    erased_at: dict[Person, datetime] = field(default_factory=dict)
    crm_keys: dict[Person, set[str]] = field(default_factory=dict)
    newcomers: set[Person] = field(default_factory=set)

    async def run(self) -> dict[str, Any]:
        """All of it; the summary.

        Raises:
            DoesNotAddUp: the sums are wrong; the summary is written all the same.
        """
        began = time.monotonic()
        now = datetime.now(UTC)
        # The patience with quiet customers should end just after everything is loaded.
        loaded = now + timedelta(seconds=8 + self.options.customers / 130)
        company = Company(self.options.seed, now, loaded, customers=self.options.customers)
        with self.show.step(f"{NAME}: eight months of {company.customers:,} people are made up"):
            phases = await asyncio.to_thread(divide, company.deliveries(), now)
            day = LiveDay(company)
            await asyncio.to_thread(lambda: day.regulars)
        limits = httpx.Limits(max_keepalive_connections=20)
        async with (
            httpx.AsyncClient(timeout=60, trust_env=False, limits=limits) as http,
            Witness(self.site.kafka_bootstrap, self.site.prefix) as witness,
        ):
            stages = await self._stages(http)
            with self._doors(http) as doors:
                await self._load(http, witness, phases, doors)
                self._addresses()
                await self._live(witness, day, stages, doors)
            counted = await self._counted_at_rest(http, witness, company)
            wrong = faults(counted)
            told = summary(counted)
            told["people"] = {
                "made up": company.customers,
                "came by live": len(self.newcomers),
                "asked to be forgotten": len(self.erased_at),
            }
            told["seconds"] = {name: round(value, 1) for name, value in self.show.seconds.items()}
            told["seconds"]["in all"] = round(time.monotonic() - began, 1)
            self._write(told)
            lag = sum(counted.lag.values())
            self.show.console.print(views.board(witness, stages, self.answers, lag=lag))
            people = [person for person in company.people if person not in self.erased_at]
            self.show.console.print(
                views.stories(
                    await tell(http, self._url("stage-engine"), _interesting(people, witness), STORY_LIFECYCLE)
                )
            )
            self.show.say(views.customers_line(told))
            self.show.say(views.summary_line(told))
            if wrong:
                raise DoesNotAddUp(wrong)
            return told

    def _keys(self, person: Person) -> list[str]:
        return person.keys + sorted(self.crm_keys.get(person, ()))

    def _url(self, service: str) -> str:
        return self.site.services[service].url

    @contextmanager
    def _doors(self, http: httpx.AsyncClient) -> Iterator[dict[str, Door]]:
        """Each of the company's systems at its own door."""
        kit, url = self.site.kit, self._url("ingest")
        shop = SegmentDoor(url, kit.secrets.write_keys[SHOP])
        try:
            yield {
                SHOP: shop,
                MAILER: SendGridDoor(http, kit.mailer_url, kit.secrets.sendgrid),
                CRM: HubSpotDoor(http, kit.crm_url, kit.secrets.hubspot, self.crm_keys),
                DESK: ApiDoor(http, url, kit.secrets.write_keys[DESK]),
            }
        finally:
            shop.close()

    async def _load(self, http: httpx.AsyncClient, witness: Witness, phases: Phases, doors: Mapping[str, Door]) -> None:
        total = len(phases.history) + len(phases.recent)
        with self.show.step(f"{total:,} touchpoints arrive"), self.show.progress("posted", total) as bar:
            past = ImportDoor(self.site.folder, HISTORY, self._run_ingest)
            async with beside(self._post(past, phases.history)) as importing:
                while not importing.done():
                    await asyncio.wait({importing}, timeout=0.3)
                    bar.update(bar.task_ids[0], completed=witness.touchpoints.published)
            for by_source in phases.slices():
                # Side by side, as systems do; but no system's yesterday comes after another's today.
                await asyncio.gather(*(self._post(doors[source], told) for source, told in by_source.items()))
                bar.advance(bar.task_ids[0], sum(map(len, by_source.values())))
        with self.show.step("the engine folds them"), self.show.progress("folded", total) as bar:
            await self._until(lambda: self._caught_up(witness, bar.update, bar.task_ids[0]), 240.0)

    async def _run_ingest(self, *arguments: str) -> str:
        return await self.site.run_command("touchline-ingest", *arguments)

    async def _post(self, door: Door, told: Sequence[Deed | Mistake]) -> None:
        try:
            self.answers.add(await door.post(told))
        except DoorError:
            self.site.check_alive()  # a service that ended says more than the door that it no longer opens
            raise

    async def _caught_up(self, witness: Witness, update: Callable[..., None], task: Any) -> bool:
        # The notifier reads on while the live scenes begin.
        behind = (await witness.lag())[f"{self.site.prefix}.stage-engine"]
        update(task, completed=max(0, witness.touchpoints.published - behind))
        return behind == 0

    async def _until(self, holds: Callable[[], Any], seconds: float) -> bool:
        """Wait for a condition; False when it doesn't come true in time."""
        deadline = time.monotonic() + seconds
        while not await holds():
            self.site.check_alive()
            if time.monotonic() > deadline:
                return False
            await asyncio.sleep(0.3)
        return True

    async def _stages(self, http: httpx.AsyncClient) -> dict[str, tuple[str, ...]]:
        """Each running lifecycle's stages, in order."""
        listed = (await http.get(f"{self._url('stage-engine')}/v1/lifecycles")).raise_for_status().json()["items"]
        return {item["name"]: tuple(stage["name"] for stage in item["stages"]) for item in listed}

    def _addresses(self) -> None:
        rows = [
            ("the console", f"{self._url('stage-engine')}/"),
            ("query API", f"{self._url('stage-engine')}/docs"),
            ("ingest", f"{self._url('ingest')}/docs"),
            ("plays, actions, deliveries", f"{self._url('notifier')}/"),
            ("the notifier's API", f"{self._url('notifier')}/docs"),
            ("Kafka", self.site.kafka_bootstrap),
            ("PostgreSQL", self.site.database_url),
        ]
        self.show.console.print(views.addresses(rows))

    async def _live(
        self, witness: Witness, day: LiveDay, stages: Mapping[str, tuple[str, ...]], doors: Mapping[str, Door]
    ) -> None:
        """Scenes as they happen; with --once for a while, else until Ctrl-C."""
        if not self.options.once:
            self.show.say(
                "Live touchpoints arrive now. Ctrl-C ends the demo and checks the sums, which takes about half a "
                "minute: first, everything under way comes to rest. A second Ctrl-C ends it at once."
            )
        started = time.monotonic()
        waiting: list[tuple[datetime, str, Deed]] = []
        scenes, last_look = 0, 0.0
        residents = frozenset(day.company.people)
        company_watch = (day.company.live_from + day.company.live_for - datetime.now(UTC)).total_seconds()
        play_until = max(_SCENES_FOR, company_watch - _LAST_SCENE)
        self.site.open_to_visitors = True
        async with self._live_step(day.company) as live:
            while True:
                elapsed = time.monotonic() - started
                playing = not self.stop.is_set() and not (self.options.once and elapsed > play_until)
                if playing and scenes < elapsed * _SCENES_A_SECOND:
                    for deed in day.scene(scenes, datetime.now(UTC)):
                        heapq.heappush(waiting, (deed.at, deed.id, deed))
                    scenes += 1
                due = []
                while waiting and waiting[0][0] <= datetime.now(UTC):
                    due.append(heapq.heappop(waiting)[2])
                await asyncio.gather(*(self._post(doors[deed.source], [deed]) for deed in due))
                self.newcomers.update(deed.person for deed in due if deed.person not in residents)
                if not playing and (not waiting or self.stop.is_set()):
                    break
                self.site.check_alive()
                if live is not None and elapsed - last_look > 1:
                    last_look = elapsed
                    lag = sum((await witness.lag()).values())
                    live.update(views.board(witness, stages, self.answers, lag=lag))
                await asyncio.sleep(0.1)

    @asynccontextmanager
    async def _live_step(self, company: Company) -> AsyncIterator[Live | None]:
        with self.show.step("live touchpoints arrive"), self.show.live() as live:
            async with beside(self._erase(company)):
                yield live

    async def _erase(self, company: Company) -> None:
        """Somebody asks to be forgotten."""
        known = {person: company.life_of(person) for person in company.people if person.habit == "hurt"}
        person = max(known, key=lambda person: len(known[person]), default=None)
        if person is None or not any(deed.type == "signed_up" for deed in known[person]):
            return
        await self.site.run_command("touchline-stage-engine", "erase", person.customer_id)
        self.erased_at[person] = datetime.now(UTC)

    async def _counted_at_rest(self, http: httpx.AsyncClient, witness: Witness, company: Company) -> Counted:
        """Count while nothing moves: a patience that ends in the middle of it spoils the count, not the sums."""
        for _ in range(_COUNTS):
            await self._settle(witness)
            read = witness.read
            counted = await self._count(http, witness, company)
            if not faults(counted) or (witness.read == read and await witness.caught_up()):
                break
        return counted

    async def _settle(self, witness: Witness) -> None:
        """Wait until nothing moves any more: no lag, nothing under way, and no new record for a while."""
        read, since = witness.read, time.monotonic()

        async def still() -> bool:
            nonlocal read, since
            lag = await witness.lag()
            quiet = (
                not any(lag.values()) and not witness.actions.under_way(datetime.now(UTC)) and await witness.caught_up()
            )
            if not quiet or witness.read != read:
                read, since = witness.read, time.monotonic()
            return time.monotonic() - since > _STILL_SECONDS

        with self.show.step("everything comes to rest"):
            await self._until(still, _SETTLE_SECONDS)

    async def _count(self, http: httpx.AsyncClient, witness: Witness, company: Company) -> Counted:
        with self.show.step("the sums are checked"):
            posted, reported, customers = await folded(self.site.database_url, self.site.engine_schema)
            erased = sum(
                witness.touchpoints.occurred[name] <= when
                for person, when in self.erased_at.items()
                for name in witness.touchpoints.of(self._keys(person))
            )
            extra = witness.touchpoints.published + witness.dead_letters.at_the_doors - self.answers.accepted
            return Counted(
                accepted=self.answers.accepted + max(0, min(extra, self.answers.resent)),
                rejected=self.answers.rejected,
                touchpoints=witness.touchpoints,
                facts=witness.facts,
                stages=witness.stages,
                actions=witness.actions,
                folded=posted,
                reports_folded=reported,
                erased=erased,
                dead_letters=witness.dead_letters.total,
                doors_dead_lettered=witness.dead_letters.at_the_doors,
                lag=await witness.lag(),
                received=dict(self.site.inbox.by_action()),
                badly_signed=self.site.inbox.badly_signed,
                inbox=self.site.inbox.counts(),
                customers_known=customers,
                samples_wrong=await self._samples(http, witness, company),
            )

    async def _samples(self, http: httpx.AsyncClient, witness: Witness, company: Company) -> list[str]:
        """Ask the query API about some customers, and hold its answers against the books."""
        wrong = []
        known = [person for person in company.people if witness.touchpoints.of([person.customer_id])]
        for person in known[:: max(1, len(known) // _TRY)]:
            answer = await http.get(f"{self._url('stage-engine')}/v1/customers/{person.customer_id}")
            if person in self.erased_at:
                if answer.status_code != httpx.codes.NOT_FOUND:
                    wrong.append(f"{person.customer_id} was erased, and the API answers {answer.status_code}")
                continue
            told = answer.raise_for_status().json()
            expected = (
                len(witness.touchpoints.of(self._keys(person))) + witness.touchpoints.reports_by_key[person.customer_id]
            )
            if told["touchpoints"] != expected:
                wrong.append(f"{person.customer_id}: the API says {told['touchpoints']} touchpoints, not {expected}")
            for lifecycle, stage in told["stages"].items():
                booked = witness.facts.stages.get((person.customer_id, lifecycle))
                if (stage["stage"], stage["sequence"]) != booked:
                    wrong.append(
                        f"{person.customer_id} in {lifecycle}: the API says {stage['stage']}, the facts {booked}"
                    )
        return wrong

    def _write(self, told: Mapping[str, Any]) -> None:
        path = self.site.summary_file
        path.write_text(json.dumps(told, indent=2) + "\n")
        self.show.say(f"All numbers, as JSON: {path}")


def _interesting(people: Sequence[Person], witness: Witness) -> list[Person]:
    """One of each of some habits, with the most moves."""
    moves: dict[str, int] = {}
    for (customer, lifecycle), (_, sequence) in witness.facts.stages.items():
        if lifecycle == STORY_LIFECYCLE:
            moves[customer] = sequence
    chosen = []
    for habit in ("eager", "hurt", "returning", "office"):
        those = [person for person in people if person.habit == habit and person.customer_id in moves]
        if those:
            chosen.append(max(those, key=lambda person: moves[person.customer_id]))
    return chosen


async def demo(options: Options, site: Site, show: Show, stop: asyncio.Event) -> dict[str, Any]:
    """Enter the premises, run, and leave them as they were.

    Raises:
        DevstackError, DoorError: something did not start, or ended.
        DoesNotAddUp: it ran, and the numbers are wrong.
    """
    async with site:
        return await Demo(site, show, options, stop).run()
