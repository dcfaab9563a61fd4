"""The registry of channels: ours, an installed package's, and what is wrong with either."""

import json
import sys
import zipfile
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pydantic import SecretStr
from touchline_notifier.adapters.channel_registry import load_channels
from touchline_notifier.adapters.http.guarded_client import GuardedHttp
from touchline_notifier.adapters.http.slack import SlackChannel
from touchline_notifier.adapters.http.webhook import WebhookChannel
from touchline_notifier.adapters.smtp.email import EmailChannel
from touchline_notifier.application.plays_in_force import check_endpoints
from touchline_notifier.core.delivery.channel import Channel, Delivered, Delivery, Message, Retry, storable
from touchline_notifier.core.delivery.endpoints import Endpoint, Smtp
from touchline_runtime.errors import ConfigurationError

EXAMPLE = Path(__file__).parents[5] / "docs/examples/touchline-channel-example"


def ours() -> list[Channel]:
    http = GuardedHttp()
    return [WebhookChannel(http), SlackChannel(http), EmailChannel()]


@pytest.fixture
def installed_example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The example, built into a wheel and unpacked where Python looks: what an installer does."""
    from hatchling.build import build_wheel

    monkeypatch.chdir(EXAMPLE)
    wheel = build_wheel(str(tmp_path))
    with zipfile.ZipFile(tmp_path / wheel) as archive:
        archive.extractall(tmp_path / "site")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    monkeypatch.delitem(sys.modules, "touchline_channel_example", raising=False)


def delivery(path: Path) -> tuple[Delivery, Endpoint]:
    message = Message("0192f7a0-0000-7000-8000-000000000001", "touchline.action", "", "c-1", text="hello")
    now = datetime(2026, 3, 1, tzinfo=UTC)
    endpoint = Endpoint(name="history", type="logbook", options={"path": str(path)})
    return Delivery(message.delivery_id, "action", None, "c-1", "logbook", "history", message, 1, now), endpoint


@pytest.mark.usefixtures("installed_example")
async def test_an_installed_packages_channel_is_found_checked_and_used(tmp_path: Path) -> None:
    channels = load_channels(ours())
    assert sorted(channels) == ["email", "logbook", "slack", "webhook"]
    assert check_endpoints([Endpoint(name="history", type="logbook")], channels) == [
        "endpoint history: options: say which file: options: {path: /var/lib/touchline/logbook.ndjson}"
    ]
    one, endpoint = delivery(tmp_path / "history.ndjson")
    now = datetime(2026, 3, 1, tzinfo=UTC)
    assert await channels["logbook"].send(one, endpoint, now) == Delivered()
    assert json.loads((tmp_path / "history.ndjson").read_text())["text"] == "hello"
    one, endpoint = delivery(tmp_path / "missing" / "history.ndjson")
    assert isinstance(await channels["logbook"].send(one, endpoint, now), Retry)


def a_package(folder: Path, monkeypatch: pytest.MonkeyPatch, entry: str, code: str) -> None:
    (folder / "other-1.0.dist-info").mkdir()
    (folder / "other-1.0.dist-info/METADATA").write_text("Metadata-Version: 2.1\nName: other\nVersion: 1.0\n")
    (folder / "other-1.0.dist-info/entry_points.txt").write_text(f"[touchline.channels]\n{entry}\n")
    (folder / "other_channel.py").write_text(code)
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.delitem(sys.modules, "other_channel", raising=False)


@pytest.mark.parametrize(
    ("entry", "code", "excerpt"),
    [
        ("sms = other_channel:Sms", "raise RuntimeError('no modem')", "can't be loaded .RuntimeError: no modem"),
        ("sms = other_channel:Sms", "class Sms: name = 'sms'", "is no channel: it needs name, needs_address"),
        ("sms = other_channel:Sms", "from touchline_notifier.adapters.smtp.email import EmailChannel as Sms",
         "gives a channel named 'email'"),
        ("email = other_channel:Sms", "from touchline_notifier.adapters.smtp.email import EmailChannel as Sms",
         "two channels are named 'email'"),
    ],
)  # fmt: skip
def test_a_package_whose_channel_is_none_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, entry: str, code: str, excerpt: str
) -> None:
    a_package(tmp_path, monkeypatch, entry, code)
    with pytest.raises(ConfigurationError, match=excerpt) as refused:
        load_channels(ours())
    assert "other" in str(refused.value)


def test_what_an_endpoint_misses_is_said_with_the_remedy() -> None:
    password = SecretStr("hunter2")
    wrong = check_endpoints(
        [
            Endpoint(name="a"),
            Endpoint(name="b", url=SecretStr("ftp://example.org"), secret=(SecretStr("whsec_short"),)),
            Endpoint(name="c", type="email", smtp=Smtp(host="smtp.example.org", tls="none", password=password)),
            Endpoint(name="d", type="carrier_pigeon"),
            Endpoint(name="e", type="slack", url=SecretStr("https://hooks.example.org/services/T/B/x")),
        ],
        load_channels(ours()),
    )
    text = "\n".join(wrong)
    for excerpt in (
        "endpoint a: url: say where", "endpoint a: secret: the webhook secret is empty",
        "endpoint b: url: must begin with https://", "endpoint b: secret: a webhook secret",
        "endpoint c: smtp: a password would cross the network in the clear", "endpoint c: from: say whom",
        "endpoint d: there is no channel 'carrier_pigeon'",
    ):  # fmt: skip
        assert excerpt in text
    assert "endpoint e" not in text
    assert "hunter2" not in text
    assert "short" not in text


def test_what_the_other_side_says_is_made_storable() -> None:
    assert storable(Retry("451 \udcff \x00", status=451)) == Retry("451 ? \ufffd", status=451)
    assert storable(Delivered(250)) == Delivered(250)
