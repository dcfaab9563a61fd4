"""A real broker with TLS, mutual TLS, SASL (PLAIN, SCRAM, OAUTHBEARER) and an authorizer that refuses by default."""

import base64
import json
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import trustme
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.protocol.admin import CreateAclsRequest, DeleteAclsRequest
from cryptography.hazmat.primitives import serialization
from touchline_devstack.embedded.archive import kafka_runtime
from touchline_devstack.embedded.jars import JarCache, JarLock
from touchline_devstack.embedded.kafka import KafkaRuntime
from touchline_devstack.progress import Silent
from touchline_devstack.settings import DevstackSettings

from tests.support.ports import answers, free_port
from tests.support.waiting import wait_for

RESOURCES = {"topic": 2, "group": 3, "cluster": 4, "transactionalId": 5}
PATTERNS = {"literal": 3, "prefix": 4}
OPERATIONS = {
    "Read": 3, "Write": 4, "Create": 5, "Describe": 8, "DescribeConfigs": 10, "AlterConfigs": 11, "IdempotentWrite": 12,
}  # fmt: skip
ALLOW = 3
USERS = {name: f"{name}-password" for name in ("ingest", "stage-engine", "notifier", "nobody")}


@dataclass(frozen=True)
class SecureKafka:
    """Addresses and files of the broker. ``internal`` asks for nothing and may do everything."""

    internal: str
    sasl: str
    mutual_tls: str
    ca: Path
    client_certificate: Path
    token_url: str

    async def allow(self, principal: str, acls: list[dict[str, Any]], prefix: str) -> None:
        """Create access rules, as deploy/helm/touchline/files/acls.json writes them."""
        for rule, response in await self._each(CreateAclsRequest, principal, acls, prefix):
            for code, message in response.creation_responses:
                assert code == 0, f"{rule}: {code} {message}"

    async def withdraw(self, principal: str, acls: list[dict[str, Any]], prefix: str) -> None:
        """Delete access rules that :meth:`allow` has created."""
        for rule, response in await self._each(DeleteAclsRequest, principal, acls, prefix):
            for code, message, deleted in response.filter_responses:
                assert (code, len(deleted)) == (0, 1), f"{rule}: {code} {message}"

    async def _each(
        self,
        request: type[CreateAclsRequest | DeleteAclsRequest],
        principal: str,
        acls: list[dict[str, Any]],
        prefix: str,
    ) -> list[tuple[str, Any]]:
        """Send a request for each operation of each rule: (rule, response)."""
        admin = AIOKafkaAdminClient(bootstrap_servers=self.internal)
        await admin.start()
        try:
            return [
                (
                    f"{acl} {operation}",
                    await admin._client.send(
                        admin._client.get_random_node(),
                        request(
                            RESOURCES[acl["type"]],
                            acl["name"].replace("{prefix}", prefix),
                            PATTERNS[acl["pattern"]],
                            f"User:{principal}",
                            "*",
                            OPERATIONS[operation],
                            ALLOW,
                        ),
                    ),
                )
                for acl in acls
                for operation in acl["operations"]
            ]
        finally:
            await admin.close()


class _Tokens(BaseHTTPRequestHandler):
    """An authorization server's token endpoint. Its tokens are unsecured JWTs, which Kafka takes where told to."""

    def do_POST(self) -> None:
        form = self.rfile.read(int(self.headers["content-length"])).decode()
        user, _, password = (
            base64.b64decode(self.headers["authorization"].removeprefix("Basic ")).decode().partition(":")
        )
        if USERS.get(user) != password or "grant_type=client_credentials" not in form:
            self.send_response(401)
            self.end_headers()
            return
        now = int(time.time())
        token = ".".join(
            base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=")
            for part in ({"alg": "none"}, {"sub": user, "iat": now, "exp": now + 3600})
        )
        body = json.dumps({"access_token": f"{token}.", "token_type": "Bearer", "expires_in": 3600}).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def secure_kafka(folder: Path) -> Iterator[SecureKafka]:
    """The broker, up while the context is entered."""
    settings = DevstackSettings.from_environment()
    runtime = kafka_runtime(JarCache(settings.cache, JarLock.of_this_package(), settings.maven_repository), Silent())
    authority = trustme.CA(key_type=trustme.KeyType.RSA)
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    server = authority.issue_cert("127.0.0.1", "localhost", key_type=trustme.KeyType.RSA)
    (folder / "server.pem").write_bytes(
        _pkcs8(server.private_key_pem.bytes()) + b"".join(blob.bytes() for blob in server.cert_chain_pems)
    )
    client = authority.issue_cert("notifier.example.com", common_name="notifier", key_type=trustme.KeyType.RSA)
    client.private_key_and_cert_chain_pem.write_to_path(str(folder / "client.pem"))
    tokens = ThreadingHTTPServer(("127.0.0.1", 0), _Tokens)
    threading.Thread(target=tokens.serve_forever, daemon=True).start()
    internal, sasl, mutual, controller = (free_port() for _ in range(4))
    properties = folder / "server.properties"
    properties.write_text(_properties(folder, internal, sasl, mutual, controller))
    _format(runtime, properties)
    with (folder / "kafka.log").open("wb") as log:
        broker = subprocess.Popen([*runtime.java("-Xmx512m"), "kafka.Kafka", str(properties)], stdout=log, stderr=log)
    try:

        def up() -> bool:
            assert broker.poll() is None, (folder / "kafka.log").read_text()
            return all(answers(port) for port in (internal, sasl, mutual))

        wait_for(up, "the broker listens", 120, seen=(folder / "kafka.log").read_text)
        yield SecureKafka(
            f"127.0.0.1:{internal}", f"127.0.0.1:{sasl}", f"127.0.0.1:{mutual}", folder / "ca.pem",
            folder / "client.pem", f"http://127.0.0.1:{tokens.server_port}/token",
        )  # fmt: skip
    finally:
        tokens.shutdown()
        tokens.server_close()
        broker.terminate()
        broker.wait(60)


def _pkcs8(pem: bytes) -> bytes:
    """The one form of a private key that Kafka reads."""
    key = serialization.load_pem_private_key(pem, None)
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _format(runtime: KafkaRuntime, properties: Path) -> None:
    command = [*runtime.java("-Xmx256m"), "kafka.tools.StorageTool", "format", "--cluster-id=5L6g3nShT-eMCtK--X86sw"]
    command += ["--config", str(properties)]
    for name, password in USERS.items():
        for mechanism in ("SCRAM-SHA-512", "SCRAM-SHA-256"):
            command += ["--add-scram", f"{mechanism}=[name={name},password={password}]"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=400, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def _properties(folder: Path, internal: int, sasl: int, mutual: int, controller: int) -> str:
    security = "org.apache.kafka.common.security"
    plain_users = " ".join(f'user_{name}="{password}"' for name, password in USERS.items())
    lines: Mapping[str, object] = {
        "process.roles": "broker,controller",
        "node.id": 1,
        "controller.quorum.voters": f"1@127.0.0.1:{controller}",
        "listeners": f"INTERNAL://127.0.0.1:{internal},SASL://127.0.0.1:{sasl},MUTUAL://127.0.0.1:{mutual},"
        f"CONTROLLER://127.0.0.1:{controller}",
        "advertised.listeners": f"INTERNAL://127.0.0.1:{internal},SASL://127.0.0.1:{sasl},MUTUAL://127.0.0.1:{mutual}",
        "listener.security.protocol.map": "INTERNAL:PLAINTEXT,CONTROLLER:PLAINTEXT,SASL:SASL_SSL,MUTUAL:SSL",
        "inter.broker.listener.name": "INTERNAL",
        "controller.listener.names": "CONTROLLER",
        "log.dirs": folder / "data",
        "auto.create.topics.enable": "false",
        "offsets.topic.replication.factor": 1,
        "offsets.topic.num.partitions": 4,
        "transaction.state.log.replication.factor": 1,
        "transaction.state.log.min.isr": 1,
        "transaction.state.log.num.partitions": 4,
        "group.initial.rebalance.delay.ms": 0,
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super.users": "User:ANONYMOUS",
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": folder / "server.pem",
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": folder / "ca.pem",
        "listener.name.mutual.ssl.client.auth": "required",
        "listener.name.mutual.ssl.principal.mapping.rules": r"RULE:^.*CN=([a-z-]+).*$/$1/,DEFAULT",
        "listener.name.sasl.sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512,OAUTHBEARER",
        "listener.name.sasl.plain.sasl.jaas.config": f"{security}.plain.PlainLoginModule required {plain_users};",
        "listener.name.sasl.scram-sha-256.sasl.jaas.config": f"{security}.scram.ScramLoginModule required;",
        "listener.name.sasl.scram-sha-512.sasl.jaas.config": f"{security}.scram.ScramLoginModule required;",
        "listener.name.sasl.oauthbearer.sasl.jaas.config": f"{security}.oauthbearer.OAuthBearerLoginModule required "
        'unsecuredLoginStringClaim_sub="broker";',
    }
    return "".join(f"{name}={value}\n" for name, value in lines.items())


def untrusted(folder: Path) -> Path:
    """The certificate of an authority that signed nothing here."""
    path = folder / "other-ca.pem"
    trustme.CA().cert_pem.write_to_path(str(path))
    ssl.create_default_context(cafile=str(path))
    return path
