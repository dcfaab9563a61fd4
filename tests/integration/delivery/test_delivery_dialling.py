"""Where a POST really goes: names that lead inside, names that change their mind, and certificates."""

import ipaddress
import ssl
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from touchline_devstack.receivers import WebhookReceiver
from touchline_notifier.adapters.http.guarded_client import CantSendError, GuardedHttp
from touchline_notifier.core.delivery.addresses import parse_networks

LOOPBACK = parse_networks("127.0.0.0/8")


class Names:
    """A name server: each question gets the next of the answers, the last one for ever."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        self.asked.append(host)
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


async def post(http: GuardedHttp, url: str, name: str = "crm") -> int:
    try:
        return (await http.post(name, url, b"{}", {}, timeout_seconds=60)).status
    finally:
        await http.close()


@pytest.mark.parametrize(
    "inside", [["127.0.0.1"], ["10.0.0.7", "192.168.1.1"], ["169.254.169.254"], ["::1"], ["::ffff:127.0.0.1"], []]
)
async def test_a_name_that_leads_inside_is_not_dialled(receiver: WebhookReceiver, inside: list[str]) -> None:
    http = GuardedHttp((), resolve=Names(inside))
    with pytest.raises(CantSendError, match="leads where nothing is sent"):
        await post(http, f"http://crm.example.org:{receiver.port}/hook")
    assert receiver.arrived == []


async def test_the_address_that_was_checked_is_the_one_that_is_dialled(receiver: WebhookReceiver) -> None:
    # A name server that answers differently the second time: the second answer is never asked for.
    names = Names(["127.0.0.1"], ["10.0.0.1"])
    assert await post(GuardedHttp(LOOPBACK, resolve=names), f"http://crm.example.org:{receiver.port}/hook?a=1") == 204
    assert names.asked == ["crm.example.org"]
    (arrived,) = receiver.arrived
    assert arrived.headers["host"] == f"crm.example.org:{receiver.port}"
    assert arrived.path == "/hook?a=1"


async def test_of_several_addresses_a_dead_one_is_passed_over(receiver: WebhookReceiver) -> None:
    http = GuardedHttp(LOOPBACK, resolve=Names(["10.0.0.1", "127.9.9.9", "127.0.0.1"]))
    assert await post(http, f"http://crm.example.org:{receiver.port}/hook") == 204


async def test_a_name_that_does_not_resolve_is_said_so() -> None:
    with pytest.raises(CantSendError, match=r"touchline\.invalid can't be resolved"):
        await post(GuardedHttp(LOOPBACK), "http://touchline.invalid/hook")


async def test_plain_http_leaves_only_towards_networks_that_were_allowed() -> None:
    with pytest.raises(CantSendError, match="plain http"):
        await post(GuardedHttp(LOOPBACK, resolve=Names(["93.184.216.34"])), "http://crm.example.org/hook")


async def test_a_proxy_in_the_environment_is_not_used(
    receiver: WebhookReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
    assert await post(GuardedHttp(LOOPBACK), receiver.url) == 204


class _Tls(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        pass  # refused handshakes are what the tests are about


@pytest.fixture
def tls_server(tmp_path: Path) -> Iterator[tuple[int, list[str | None], ssl.SSLContext]]:
    """A server with a certificate for crm.example.org: (port, server names asked for, a context that trusts it)."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "crm.example.org")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("crm.example.org")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = tmp_path / "both.pem"
    pem.write_bytes(
        certificate.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    asked: list[str | None] = []
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    context.sni_callback = lambda _socket, server_name, _context: asked.append(server_name)
    server = _Server(("127.0.0.1", 0), _Tls)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    yield server.server_address[1], asked, ssl.create_default_context(cafile=str(pem))
    server.shutdown()
    server.server_close()
    thread.join()


async def test_the_certificate_is_checked_against_the_name_though_an_address_is_dialled(
    tls_server: tuple[int, list[str | None], ssl.SSLContext],
) -> None:
    port, asked, trusting = tls_server
    names = Names(["127.0.0.1"])
    assert await post(GuardedHttp(LOOPBACK, resolve=names, tls=trusting), f"https://crm.example.org:{port}/") == 204
    assert asked == ["crm.example.org"]
    with pytest.raises(CantSendError, match="CERTIFICATE_VERIFY_FAILED"):
        await post(GuardedHttp(LOOPBACK, resolve=names, tls=trusting), f"https://other.example.org:{port}/")
    with pytest.raises(CantSendError, match="CERTIFICATE_VERIFY_FAILED"):
        await post(GuardedHttp(LOOPBACK, resolve=names), f"https://crm.example.org:{port}/")


async def test_two_endpoints_at_one_address_never_share_a_connection(
    tls_server: tuple[int, list[str | None], ssl.SSLContext],
) -> None:
    port, _, trusting = tls_server
    http = GuardedHttp(LOOPBACK, resolve=Names(["127.0.0.1"]), tls=trusting)
    answer = await http.post("crm", f"https://crm.example.org:{port}/", b"{}", {}, timeout_seconds=60)
    assert answer.status == 204
    # The second name is not on the certificate: on the first one's connection it would have got through.
    with pytest.raises(CantSendError, match="CERTIFICATE_VERIFY_FAILED"):
        await http.post("other", f"https://other.example.org:{port}/", b"{}", {}, timeout_seconds=60)
    await http.close()


def test_an_allowed_network_is_read_from_text() -> None:
    assert parse_networks("127.0.0.0/8") == (ipaddress.ip_network("127.0.0.0/8"),)
