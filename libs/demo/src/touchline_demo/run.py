"""The demo from start to end: deployment, months of touchpoints, live scenes, and totals that must agree."""

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

from touchline_demo import display as views
from touchline_demo.checks.database import folded
from touchline_demo.checks.summary import Counted, discrepancies, summary
from touchline_demo.checks.verifier import Verifier
from touchline_demo.clients.api import Answers, ApiClient, ClientError, SourceClient
from touchline_demo.clients.history_import import HistoryImportClient
from touchline_demo.clients.vendors import HubSpotClient, SegmentClient, SendGridClient
from touchline_demo.company.company import NAME, Company
from touchline_demo.company.live_scenes import LiveDay
from touchline_demo.company.people import CRM, DESK, MAILER, SHOP, Event, InvalidEvent, Person
from touchline_demo.company.phases import Phases, divide
from touchline_demo.deployment import Deployment
from touchline_demo.display import Display
from touchline_demo.setup import HISTORY
from touchline_demo.stories import fetch_stories

STORY_LIFECYCLE = "service-cycle"
_SCENES_A_SECOND = 1.2
_SCENES_FOR = 15.0
"""With --once: seconds in which scenes begin; then those that are under way play to their end."""
_LAST_SCENE = 25.0
_SETTLE_SECONDS = 90.0
_STILL_SECONDS = 3.0
_COUNTS = 4
_TRY = 25


class TotalsDiffer(Exception):  # noqa: N818 - a result of the demo, not an error in it
    """The demo ran, and its totals do not agree."""

    def __init__(self, reasons: list[str]) -> None:
        super().__init__("the totals do not agree:\n  " + "\n  ".join(reasons))
        self.reasons = reasons


@asynccontextmanager
async def run_beside(work: Coroutine[Any, Any, None]) -> AsyncIterator[asyncio.Task[None]]:
    """Let something run run_beside the block, and to its end; a block that fails ends it."""
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
    """One run on a running deployment."""

    deployment: Deployment
    display: Display
    options: Options
    stop: asyncio.Event
    answers: Answers = field(default_factory=Answers)
    erased_at: dict[Person, datetime] = field(default_factory=dict)
    crm_keys: dict[Person, set[str]] = field(default_factory=dict)
    newcomers: set[Person] = field(default_factory=set)

    async def run(self) -> dict[str, Any]:
        """All of it; the summary.

        Raises:
            TotalsDiffer: the totals do not agree; the summary is written nevertheless.
        """
        began = time.monotonic()
        now = datetime.now(UTC)
        # The stalls of quiet customers should come due just after everything is loaded.
        loaded = now + timedelta(seconds=8 + self.options.customers / 130)
        company = Company(self.options.seed, now, loaded, customers=self.options.customers)
        with self.display.step(f"{NAME}: eight months of {company.customers:,} people are made up"):
            phases = await asyncio.to_thread(divide, company.deliveries(), now)
            day = LiveDay(company)
            await asyncio.to_thread(lambda: day.regulars)
        limits = httpx.Limits(max_keepalive_connections=20)
        async with (
            httpx.AsyncClient(timeout=60, trust_env=False, limits=limits) as http,
            Verifier(self.deployment.kafka_bootstrap, self.deployment.prefix) as verifier,
        ):
            stages = await self._stages(http)
            with self._clients(http) as clients:
                await self._load(http, verifier, phases, clients)
                self._addresses()
                await self._live(verifier, day, stages, clients)
            counted = await self._counted_at_rest(http, verifier, company)
            wrong = discrepancies(counted)
            result = summary(counted)
            result["people"] = {
                "made up": company.customers,
                "came by live": len(self.newcomers),
                "erased on request": len(self.erased_at),
            }
            result["seconds"] = {name: round(value, 1) for name, value in self.display.seconds.items()}
            result["seconds"]["in all"] = round(time.monotonic() - began, 1)
            self._write(result)
            lag = sum(counted.lag.values())
            self.display.console.print(views.board(verifier, stages, self.answers, lag=lag))
            people = [person for person in company.people if person not in self.erased_at]
            self.display.console.print(
                views.stories(
                    await fetch_stories(
                        http, self._url("stage-engine"), _interesting(people, verifier), STORY_LIFECYCLE
                    )
                )
            )
            self.display.say(views.customers_line(result))
            self.display.say(views.summary_line(result))
            if wrong:
                raise TotalsDiffer(wrong)
            return result

    def _keys(self, person: Person) -> list[str]:
        return person.keys + sorted(self.crm_keys.get(person, ()))

    def _url(self, service: str) -> str:
        return self.deployment.services[service].url

    @contextmanager
    def _clients(self, http: httpx.AsyncClient) -> Iterator[dict[str, SourceClient]]:
        """A client for each of the company's systems."""
        setup, url = self.deployment.setup, self._url("ingest")
        shop = SegmentClient(url, setup.secrets.write_keys[SHOP])
        try:
            yield {
                SHOP: shop,
                MAILER: SendGridClient(http, setup.mailer_url, setup.secrets.sendgrid),
                CRM: HubSpotClient(http, setup.crm_url, setup.secrets.hubspot, self.crm_keys),
                DESK: ApiClient(http, url, setup.secrets.write_keys[DESK]),
            }
        finally:
            shop.close()

    async def _load(
        self, http: httpx.AsyncClient, verifier: Verifier, phases: Phases, clients: Mapping[str, SourceClient]
    ) -> None:
        total = len(phases.history) + len(phases.recent)
        with self.display.step(f"{total:,} touchpoints arrive"), self.display.progress("posted", total) as bar:
            past = HistoryImportClient(self.deployment.folder, HISTORY, self._run_ingest)
            async with run_beside(self._post(past, phases.history)) as importing:
                while not importing.done():
                    await asyncio.wait({importing}, timeout=0.3)
                    bar.update(bar.task_ids[0], completed=verifier.touchpoints.published)
            for by_source in phases.slices():
                # Systems post concurrently within a slice, but no slice overtakes an earlier one.
                await asyncio.gather(*(self._post(clients[source], items) for source, items in by_source.items()))
                bar.advance(bar.task_ids[0], sum(map(len, by_source.values())))
        with self.display.step("the engine folds them"), self.display.progress("folded", total) as bar:
            await self._until(lambda: self._caught_up(verifier, bar.update, bar.task_ids[0]), 240.0)

    async def _run_ingest(self, *arguments: str) -> str:
        # 1: rows were rejected, as the invalid events must be.
        return await self.deployment.run_command("touchline-ingest", *arguments, good=frozenset((0, 1)))

    async def _post(self, client: SourceClient, items: Sequence[Event | InvalidEvent]) -> None:
        try:
            self.answers.add(await client.post(items))
        except ClientError:
            self.deployment.check_alive()  # a service that ended is the cause; report that instead
            raise

    async def _caught_up(self, verifier: Verifier, update: Callable[..., None], task: Any) -> bool:
        # The notifier may still be reading when the live scenes begin.
        behind = (await verifier.lag())[f"{self.deployment.prefix}.stage-engine"]
        update(task, completed=max(0, verifier.touchpoints.published - behind))
        return behind == 0

    async def _until(self, holds: Callable[[], Any], seconds: float) -> bool:
        """Wait for a condition; False when it doesn't come true in time."""
        deadline = time.monotonic() + seconds
        while not await holds():
            self.deployment.check_alive()
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
            ("the console: open this first", f"{self._url('console')}/"),
            ("query API", f"{self._url('stage-engine')}/docs"),
            ("ingest", f"{self._url('ingest')}/docs"),
            ("the notifier's API", f"{self._url('notifier')}/docs"),
            ("Kafka", self.deployment.kafka_bootstrap),
            ("PostgreSQL", self.deployment.database_url),
        ]
        self.display.console.print(views.addresses(rows))

    async def _live(
        self,
        verifier: Verifier,
        day: LiveDay,
        stages: Mapping[str, tuple[str, ...]],
        clients: Mapping[str, SourceClient],
    ) -> None:
        """Scenes as they happen; with --once for a while, else until Ctrl-C."""
        if not self.options.once:
            self.display.say(
                "Live touchpoints arrive now. Ctrl-C ends the demo and checks the totals, which takes about half a "
                "minute because work in progress is finished first. A second Ctrl-C ends it at once."
            )
        started = time.monotonic()
        waiting: list[tuple[datetime, str, Event]] = []
        scenes, last_look = 0, 0.0
        residents = frozenset(day.company.people)
        company_watch = (day.company.live_from + day.company.live_for - datetime.now(UTC)).total_seconds()
        play_until = max(_SCENES_FOR, company_watch - _LAST_SCENE)
        self.deployment.live = True
        async with self._live_step(day.company) as live:
            while True:
                elapsed = time.monotonic() - started
                playing = not self.stop.is_set() and not (self.options.once and elapsed > play_until)
                if playing and scenes < elapsed * _SCENES_A_SECOND:
                    for event in day.scene(scenes, datetime.now(UTC)):
                        heapq.heappush(waiting, (event.at, event.id, event))
                    scenes += 1
                due = []
                while waiting and waiting[0][0] <= datetime.now(UTC):
                    due.append(heapq.heappop(waiting)[2])
                await asyncio.gather(*(self._post(clients[event.source], [event]) for event in due))
                self.newcomers.update(event.person for event in due if event.person not in residents)
                if not playing and (not waiting or self.stop.is_set()):
                    break
                self.deployment.check_alive()
                if live is not None and elapsed - last_look > 1:
                    last_look = elapsed
                    lag = sum((await verifier.lag()).values())
                    live.update(views.board(verifier, stages, self.answers, lag=lag))
                await asyncio.sleep(0.1)

    @asynccontextmanager
    async def _live_step(self, company: Company) -> AsyncIterator[Live | None]:
        with self.display.step("live touchpoints arrive"), self.display.live() as live:
            async with run_beside(self._erase(company)):
                yield live

    async def _erase(self, company: Company) -> None:
        """Erase one customer."""
        known = {person: company.life_of(person) for person in company.people if person.habit == "hurt"}
        person = max(known, key=lambda person: len(known[person]), default=None)
        if person is None or not any(event.type == "signed_up" for event in known[person]):
            return
        await self.deployment.run_command("touchline-stage-engine", "erase", person.customer_id)
        self.erased_at[person] = datetime.now(UTC)

    async def _counted_at_rest(self, http: httpx.AsyncClient, verifier: Verifier, company: Company) -> Counted:
        """Count while nothing changes. A stall that comes due during the count spoils it: count again then."""
        for _ in range(_COUNTS):
            await self._settle(verifier)
            read = verifier.read
            counted = await self._count(http, verifier, company)
            if not discrepancies(counted) or (verifier.read == read and await verifier.caught_up()):
                break
        return counted

    async def _settle(self, verifier: Verifier) -> None:
        """Wait until nothing changes: no lag, no action in progress, and no new record for a while."""
        read, since = verifier.read, time.monotonic()

        async def still() -> bool:
            nonlocal read, since
            lag = await verifier.lag()
            quiet = (
                not any(lag.values())
                and not verifier.actions.under_way(datetime.now(UTC))
                and await verifier.caught_up()
            )
            if not quiet or verifier.read != read:
                read, since = verifier.read, time.monotonic()
            return time.monotonic() - since > _STILL_SECONDS

        with self.display.step("work in progress is finished"):
            await self._until(still, _SETTLE_SECONDS)

    async def _count(self, http: httpx.AsyncClient, verifier: Verifier, company: Company) -> Counted:
        with self.display.step("the totals are checked"):
            posted, reported, customers = await folded(self.deployment.database_url, self.deployment.engine_schema)
            erased = sum(
                verifier.touchpoints.occurred[name] <= when
                for person, when in self.erased_at.items()
                for name in verifier.touchpoints.of(self._keys(person))
            )
            accepted = self.answers.accepted + verifier.touchpoints.of_visitors
            extra = verifier.touchpoints.published + verifier.dead_letters.from_endpoints - accepted
            return Counted(
                accepted=accepted + max(0, min(extra, self.answers.resent)),
                rejected=self.answers.rejected,
                touchpoints=verifier.touchpoints,
                facts=verifier.facts,
                stages=verifier.stages,
                actions=verifier.actions,
                folded=posted,
                reports_folded=reported,
                erased=erased,
                dead_letters=verifier.dead_letters.total,
                rejected_by_endpoints=verifier.dead_letters.from_endpoints,
                lag=await verifier.lag(),
                received=dict(self.deployment.inbox.by_action()),
                badly_signed=self.deployment.inbox.badly_signed,
                inbox=self.deployment.inbox.counts(),
                customers_known=customers,
                samples_wrong=await self._samples(http, verifier, company),
            )

    async def _samples(self, http: httpx.AsyncClient, verifier: Verifier, company: Company) -> list[str]:
        """Compare the query API's answers for some customers with the ledgers."""
        wrong = []
        known = [person for person in company.people if verifier.touchpoints.of([person.customer_id])]
        for person in known[:: max(1, len(known) // _TRY)]:
            answer = await http.get(f"{self._url('stage-engine')}/v1/customers/{person.customer_id}")
            if person in self.erased_at:
                if answer.status_code != httpx.codes.NOT_FOUND:
                    wrong.append(f"{person.customer_id} was erased, and the API answers {answer.status_code}")
                continue
            result = answer.raise_for_status().json()
            expected = (
                len(verifier.touchpoints.of(self._keys(person)))
                + verifier.touchpoints.reports_by_key[person.customer_id]
            )
            if result["touchpoints"] != expected:
                wrong.append(f"{person.customer_id}: the API says {result['touchpoints']} touchpoints, not {expected}")
            for lifecycle, stage in result["stages"].items():
                booked = verifier.facts.stages.get((person.customer_id, lifecycle))
                if (stage["stage"], stage["sequence"]) != booked:
                    wrong.append(
                        f"{person.customer_id} in {lifecycle}: the API says {stage['stage']}, the facts {booked}"
                    )
        return wrong

    def _write(self, result: Mapping[str, Any]) -> None:
        path = self.deployment.summary_file
        path.write_text(json.dumps(result, indent=2) + "\n")
        self.display.say(f"All numbers, as JSON: {path}")


def _interesting(people: Sequence[Person], verifier: Verifier) -> list[Person]:
    """One of each of some habits, with the most moves."""
    moves: dict[str, int] = {}
    for (customer, lifecycle), (_, sequence) in verifier.facts.stages.items():
        if lifecycle == STORY_LIFECYCLE:
            moves[customer] = sequence
    chosen = []
    for habit in ("eager", "hurt", "returning", "office"):
        those = [person for person in people if person.habit == habit and person.customer_id in moves]
        if those:
            chosen.append(max(those, key=lambda person: moves[person.customer_id]))
    return chosen


async def demo(options: Options, deployment: Deployment, display: Display, stop: asyncio.Event) -> dict[str, Any]:
    """Start the deployment, run the demo, and remove the deployment.

    Raises:
        DevstackError, ClientError: something did not start, or ended.
        TotalsDiffer: it ran, and the numbers are wrong.
    """
    async with deployment:
        return await Demo(deployment, display, options, stop).run()
