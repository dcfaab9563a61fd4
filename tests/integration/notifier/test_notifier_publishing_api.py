"""The check, the roles, two editors at once, kill -9 while publishing, and the command lines of published plays."""

import asyncio
import hashlib
import random
from collections.abc import Iterator

import httpx
import pytest
from touchline_devstack.receivers import WebhookReceiver

from tests.support.notifier.published_plays import PATH, call, publish, text
from tests.support.notifier.world import SECRET, Process, World
from tests.support.open_transactions import no_transactions
from tests.support.waiting import wait_until

pytestmark = pytest.mark.stack


@pytest.fixture
def receiver(world: World) -> Iterator[WebhookReceiver]:
    """The company's system, named crm."""
    with WebhookReceiver([SECRET]) as opened:
        world.crm(opened)
        yield opened


async def ended(process: Process) -> tuple[int, str]:
    """Exit code and output of a command."""
    return await asyncio.to_thread(process.popen.wait, 180), process.log.read_text()


async def test_of_many_editors_with_the_same_base_one_publishes_and_nothing_is_lost(
    world: World, receiver: WebhookReceiver
) -> None:
    processes = [await world.start("serve").ready(), await world.start("serve").ready()]
    for base in (0, 1):
        answers = await asyncio.gather(
            *(publish(processes[n % 2], text(base * 10 + n), base, comment=f"{n}") for n in range(6))
        )
        assert sorted(answer.status_code for answer in answers) == [201, *[409] * 5]
        refused = next(answer for answer in answers if answer.status_code == 409).json()
        assert (refused["type"], refused["in_force"]) == ("/problems/conflict", base + 1)
        assert f"publish it with base {base + 1}" in refused["detail"]
        (winner,) = (n for n, answer in enumerate(answers) if answer.status_code == 201)
        kept = (await call(processes[0], "GET", f"{PATH}/versions/{base + 1}")).json()
        assert (kept["definition"], kept["comment"]) == (text(base * 10 + winner), f"{winner}")
    # Without a base nothing may be in force; the text in force again is no change.
    assert (await publish(processes[0], text(99))).status_code == 409
    in_force = (await call(processes[0], "GET", f"{PATH}/versions/2")).json()["definition"]
    again = await publish(processes[1], in_force)
    assert (again.status_code, again.json()) == (200, {"version": 2, "changed": False})
    entries = (await call(processes[0], "GET", "/v1/audit")).json()["items"]
    assert [(entry["action"], entry["target"], entry["after"]["version"]) for entry in entries] == [
        ("play_published", "play/win-back", 2), ("play_published", "play/win-back", 1),
    ]  # fmt: skip
    assert entries[0]["before"]["version"] == 1


async def test_editors_publish_and_viewers_do_not(world: World, receiver: WebhookReceiver) -> None:
    tokens = world.folder / "tokens.yaml"
    hashes = {role: hashlib.sha256(role.encode()).hexdigest() for role in ("viewer", "editor")}
    lines = [f"  - {{name: {role}-ann, role: {role}, token_sha256: {digest}}}" for role, digest in hashes.items()]
    tokens.write_text("\n".join(["tokens:", *lines]))
    api = await world.start("serve", TOUCHLINE_TOKENS_FILE=str(tokens)).ready()
    body = {"definition": text(1), "comment": "mine"}
    for method, path, given in (
        ("PUT", PATH, body),
        ("DELETE", PATH, None),
        ("PUT", f"{PATH}/switch", {"enabled": False}),
        ("POST", "/v1/plays/check", {"definition": text(1)}),
        ("POST", f"{PATH}/differences", {"definition": text(1)}),
        ("POST", f"{PATH}/previews", {"definition": text(1)}),
        ("POST", f"{PATH}/test", {"definition": text(1)}),
    ):
        assert (await call(api, method, path, "viewer", json=given)).status_code == 403, path
        assert (await call(api, method, path, "", json=given)).status_code == 401, path
    published = await call(api, "PUT", PATH, "editor", json=body)
    assert published.status_code == 201
    assert (await call(api, "GET", f"{PATH}/versions", "viewer")).json()["items"][0]["author"] == "editor-ann"
    (entry,) = (await call(api, "GET", "/v1/audit", "viewer")).json()["items"]
    assert (entry["actor"], entry["role"], entry["reason"]) == ("editor-ann", "editor", "mine")
    assert entry["request_id"] == published.headers["x-request-id"]


async def test_the_check_reports_every_error_at_its_line_and_the_texts_for_customers_of_today(
    world: World, receiver: WebhookReceiver
) -> None:
    process = await world.start().ready()
    await world.touchpoint("c-1", "identified", properties={"first_name": "Ada"})
    await world.touchpoint("c-2")
    await world.settled()
    greets = text(1).replace("draft 1 for", "Hello {{ traits.first_name }}, you are")
    good = (await call(process, "POST", "/v1/plays/check", json={"definition": greets})).json()
    assert (good["ok"], good["errors"], good["play"]) == (True, [], "win-back")
    by_customer = {one["customer_id"]: one for one in good["texts"]}
    assert by_customer["c-1"]["body"] == "Hello Ada, you are c-1"
    assert (by_customer["c-2"]["body"], by_customer["c-2"]["error"]["line"]) == (None, 3)
    messages = [warning["message"] for warning in good["warnings"] if warning["line"] == 3]
    assert any("first_name" in message and "c-2" in message for message in messages)

    wrong = (
        greets.replace("crm", "erp").replace("service-cycle", "nowhere").replace("{{ customer_id }}", "{{ custom }}")
    )
    bad = (await call(process, "POST", "/v1/plays/check", json={"definition": wrong})).json()
    assert (bad["ok"], bad["texts"]) == (False, [])
    found = {(error["line"], error["path"]) for error in bad["errors"]}
    assert found == {(2, "when.lifecycle"), (3, "action.endpoint"), (3, "action.body")}
    refused = await publish(process, wrong)
    assert (refused.status_code, refused.json()["errors"]) == (422, bad["errors"])
    other = await publish(process, text(1).replace("win-back", "another"))
    assert (other.status_code, other.json()["errors"][0]["path"]) == (422, "play")
    assert (await call(process, "GET", "/v1/plays")).json()["items"] == []
    # A lifecycle that the engine announces while the notifier runs is known.
    await world.lifecycle("trial", ["try", "buy"])
    later = text(1).replace("service-cycle", "trial")

    async def known() -> bool:
        return bool((await call(process, "POST", "/v1/plays/check", json={"definition": later})).json()["ok"])

    await wait_until(known, "the announced lifecycle is known")
    assert (await publish(process, later)).status_code == 201


async def test_mail_to_customers_is_published_only_where_its_unsubscribe_link_has_an_address(world: World) -> None:
    world.endpoints(
        "endpoints: [{name: mail, type: email, smtp: {host: 127.0.0.1, port: 9, tls: none}, from: 'a@example.org'}]"
    )
    mail = text(1).replace("channel: webhook, endpoint: crm, body", "channel: email, subject: Hello, body")
    process = await world.start(TOUCHLINE_PUBLIC_URL="").ready()
    refused = await publish(process, mail)
    assert refused.status_code == 422
    assert "TOUCHLINE_NOTIFIER_PUBLIC_URL" in refused.json()["detail"]
    other = await world.start("serve").ready()
    assert (await publish(other, mail)).status_code == 201


async def test_publishing_survives_kill_9_at_any_moment(world: World, receiver: WebhookReceiver) -> None:
    worker = await world.start().ready()
    seed = random.Random(15)
    pool = await world.database()
    last = 0
    for turn in range(4):
        api = await world.start("serve").ready()
        asked = [
            asyncio.create_task(publish(api, text(f"{turn}-{n}"), base, comment=f"{turn}-{n}"))
            for n, base in enumerate(range(last, last + 4))
        ]
        await asyncio.sleep(seed.random() * 0.15)
        api.kill()
        answers = await asyncio.gather(*asked, return_exceptions=True)
        await no_transactions(pool)
        rows = await pool.fetch("SELECT version, comment FROM play_versions ORDER BY version")
        assert [row["version"] for row in rows] == list(range(1, len(rows) + 1))
        for answer in answers:
            if isinstance(answer, httpx.Response) and answer.status_code == 201:
                assert answer.json()["version"] <= len(rows)
        audited = await pool.fetch("SELECT reason FROM audit_log WHERE action = 'play_published' ORDER BY id")
        assert [row["reason"] for row in audited] == [row["comment"] for row in rows]
        if rows:
            assert await pool.fetchval("SELECT version FROM published_plays") == len(rows)
        last = len(rows)
    # A running worker decides by what was committed.
    answer = await publish(worker, text(1000), last)
    assert answer.json()["version"] == last + 1
    await world.stalled("c-1")
    await world.await_actions(1, "sent")
    assert [one.json["data"]["body"] for one in receiver.arrived] == ["draft 1000 for c-1"]


async def test_the_command_lines_publish_and_compare(world: World, receiver: WebhookReceiver) -> None:
    process = await world.start().ready()
    file = world.folder / "draft.yaml"
    file.write_text(text(1))
    url = ("--url", process.url)
    assert (await ended(world.start("diff", str(file))))[0] == 1
    code, said = await ended(world.start("publish", str(file), "--comment", "first"))
    assert (code, "published: win-back version 1" in said) == (0, True), said
    for more in ((), url):
        assert (await ended(world.start("diff", str(file), *more)))[0] == 0
    file.write_text(text(2, "priority: 5\n"))
    for more in ((), url):
        code, said = await ended(world.start("diff", str(file), *more))
        assert code == 1
        assert "+priority: 5" in said
        assert "priority: 0 → 5" in said
        code, said = await ended(world.start("publish", str(file), *more))
        assert (code, "version 1 of play win-back is in force" in said) == (1, True), said
    code, said = await ended(world.start("publish", str(file), "--base", "1", *url))
    assert (code, "published: win-back version 2" in said) == (0, True), said
    code, said = await ended(world.start("publish", str(file)))
    assert (code, "already in force: win-back version 2" in said) == (0, True), said
    for number, more in ((3, ()), (4, url)):
        file.write_text(text(number))
        code, said = await ended(world.start("publish", str(file), "--replace", *more))
        assert (code, f"published: win-back version {number}" in said) == (0, True), said
    file.write_text("play: win-back\nwhen: {fact: never}\n")
    code, said = await ended(world.start("publish", str(file), "--replace"))
    assert (code, "draft.yaml" in said, "when.fact" in said) == (2, True, True), said
    file.write_text(text(5))
    world.play(text(1))
    code, said = await ended(world.start("publish", str(file), "--replace"))
    assert (code, "managed by file" in said) == (1, True), said
    entries = (await call(process, "GET", "/v1/audit")).json()["items"]
    assert [entry["actor"].endswith("(command line)") for entry in entries] == [False, True, False, True]


async def test_a_play_is_published_with_the_templates_beside_its_file(world: World, receiver: WebhookReceiver) -> None:
    process = await world.start().ready()
    url = ("--url", process.url)
    file = world.folder / "drafts" / "draft.yaml"
    layout = file.parent / "templates" / "layout.html"
    layout.parent.mkdir(parents=True)
    html = "{% extends 'layout.html' %}{% block content %}<p>{{ customer_id }}</p>{% endblock %}"
    file.write_text(text(1).replace("body: ", f'html: "{html}", body: '))
    layout.write_text("<h1>One</h1>\n{% block content %}{% endblock %}{{ nobody }}\n")
    code, said = await ended(world.start("publish", str(file)))
    assert (code, "templates/layout.html:2" in said, "'nobody' is undefined" in said) == (2, True, True), said
    for number, base in ((1, "0"), (2, "1")):
        layout.write_text(f"<h1>{number}</h1>{{% block content %}}{{% endblock %}}")
        assert (await ended(world.start("diff", str(file), *url)))[0] == 1
        code, said = await ended(world.start("publish", str(file), "--base", base, *(url if number == 2 else ())))
        assert (code, f"version {number}" in said) == (0, True), said
        assert (await ended(world.start("diff", str(file), *url)))[0] == 0
        await world.stalled(f"c-{number}")
        await world.await_actions(number, "sent")
    assert [one.json["data"]["html"] for one in receiver.arrived] == ["<h1>1</h1><p>c-1</p>", "<h1>2</h1><p>c-2</p>"]
    first = (await call(process, "GET", f"{PATH}/versions/1")).json()["definition"]
    assert "<h1>1</h1>" in first
    layout.unlink()
    code, said = await ended(world.start("publish", str(file), "--base", "2"))
    assert (code, "draft.yaml:3" in said, "there is no template 'layout.html'" in said) == (2, True, True), said


async def test_the_check_and_a_test_message_say_in_which_language_the_texts_are(
    world: World, receiver: WebhookReceiver
) -> None:
    process = await world.start().ready()
    await world.touchpoint("c-1", "identified", properties={"locale": "de-AT"})
    await world.touchpoint("c-2", "identified", properties={"locale": "fr"})
    await world.settled()
    spoken = text(1).replace("action: {", "action: {locale: en, locales: {de: {body: Hallo}, pt: {body: Olá}}, ")
    texts = (await call(process, "POST", "/v1/plays/check", json={"definition": spoken})).json()["texts"]
    assert {(one["customer_id"], one["locale"]) for one in texts if one["chosen"]} == {("c-1", "de"), ("c-2", "en")}
    assert len({one["customer_id"] for one in texts if not one["chosen"]}) == 1
    assert {one["locale"]: one["body"] for one in texts} | {"en": ""} == {"en": "", "de": "Hallo", "pt": "Olá"}
    for asked, sent in (({}, "de"), ({"locale": "pt-BR"}, None), ({"locale": "PT"}, "pt")):
        body = {"definition": spoken, "customer_id": "c-1", **asked}
        answer = await call(process, "POST", f"{PATH}/test", json=body)
        assert answer.status_code == (200 if sent else 422)
        if sent:
            assert answer.json()["locale"] == sent
        else:
            assert "there are en, de, pt" in answer.json()["detail"]
    assert [one.json["data"]["body"] for one in receiver.arrived] == ["Hallo", "Olá"]
    silent = (await call(process, "POST", "/v1/plays/check", json={"definition": text(1)})).json()["texts"]
    assert {one["locale"] for one in silent} == {None}
