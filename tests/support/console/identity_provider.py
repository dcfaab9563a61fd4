"""Canaille, an OpenID provider, in a process of its own: people, groups, and one client.

::

    python -m tests.support.console.identity_provider ORDER.json

It keeps everything in memory. Keys come with the order, so that a test rotates them by starting it again.
"""

import datetime
import json
import os
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit
from wsgiref.simple_server import make_server

import httpx
from joserfc.jwk import RSAKey
from touchline_devstack.embedded.ports import free_port
from touchline_devstack.processes import Service

from tests.support.waiting import wait_for

CLIENT, SECRET = "touchline", "the secret of the tests' client"
PASSWORD = "correct horse battery staple"


def new_key() -> dict[str, Any]:
    """A private key to sign with, as a JWK."""
    return dict(RSAKey.generate_key(2048, auto_kid=True).as_dict(private=True))


@dataclass
class IdentityProvider:
    """One provider and the people it knows: user name → groups."""

    folder: Path
    people: Mapping[str, Sequence[str]]
    console: str
    port: int = field(default_factory=free_port)
    public: str = ""
    active: list[dict[str, Any]] = field(default_factory=lambda: [new_key()])
    inactive: list[dict[str, Any]] = field(default_factory=list)
    service: Service | None = None

    @property
    def issuer(self) -> str:
        """Its issuer, at the address that browsers and the console use."""
        return f"http://{self.public or f'127.0.0.1:{self.port}'}"

    def start(self) -> "IdentityProvider":
        """Start it, and return when it answers."""
        order = {
            "port": self.port,
            "server_name": self.public or f"127.0.0.1:{self.port}",
            "people": dict(self.people),
            "console": self.console,
            "active": self.active,
            "inactive": self.inactive,
        }
        path = self.folder / "provider.json"
        path.write_text(json.dumps(order))
        arguments = [sys.executable, "-m", "tests.support.console.identity_provider", str(path)]
        self.service = Service(
            "provider", arguments, environment={}, logs=self.folder, port=self.port, cwd=Path(__file__).parents[3]
        ).start()
        self.wait()
        return self

    def wait(self) -> None:
        """Until it answers."""
        service = self.service
        assert service is not None
        headers = {"Host": self.public} if self.public else {}

        def answers() -> bool:
            assert service.is_running, service.log.read_text()[-4000:]
            address = f"http://127.0.0.1:{self.port}/.well-known/openid-configuration"
            try:
                return httpx.get(address, headers=headers, timeout=30, trust_env=False).status_code == 200
            except httpx.TransportError:
                return False

        wait_for(answers, "the identity provider answers", 120)

    def stop(self) -> None:
        """End it; its address answers nothing then."""
        if self.service is not None and self.service.is_running:
            self.service.terminate()

    def rotate(self) -> None:
        """A new key signs; the one before stays published."""
        self.stop()
        self.active, self.inactive = [new_key()], self.active
        self.start()

    def environment(self, **more: str) -> dict[str, str]:
        """The console's settings for it."""
        return {
            "TOUCHLINE_OIDC_ISSUER": self.issuer,
            "TOUCHLINE_OIDC_CLIENT_ID": CLIENT,
            "TOUCHLINE_OIDC_CLIENT_SECRET": SECRET,
            "TOUCHLINE_OIDC_SCOPES": "openid email profile groups",
            "TOUCHLINE_OIDC_ROLES": "viewer=readers; editor=marketing; operator=cn=ops,dc=example",
        } | more


def sign_in(
    browser: httpx.Client, console: str, user: str, back: str = "/", *, callback_at: str | None = None
) -> httpx.Response:
    """What a person does: the console's button, the provider's forms. The answer to the callback, not followed.

    Args:
        callback_at: another address of the same console, where the provider knows one alone.
    """
    callback = urlsplit(to_callback(browser, console, user, back))
    return browser.get(f"{callback_at or f'{callback.scheme}://{callback.netloc}'}{callback.path}?{callback.query}")


def to_callback(browser: httpx.Client, console: str, user: str, back: str = "/") -> str:
    """Sign in at the provider; the address of the console that it sends the browser to, not asked yet."""
    answer = browser.get(f"{console}/sign-in/provider", params={"next": back})
    assert answer.status_code == 303, (answer.status_code, answer.text)
    for _ in range(12):
        if answer.is_redirect:
            address = urljoin(str(answer.url), answer.headers["location"])
            if urlsplit(address).path == "/sign-in/callback":
                return address
            answer = browser.get(address)
            continue
        fields = _form(answer.text)
        fields |= {"login": user} if "login" in fields else {"password": PASSWORD}
        answer = browser.post(str(answer.url), data=fields)
    raise AssertionError(f"the provider did not send the browser back: {answer.url} {answer.text[:2000]}")


def _form(html: str) -> dict[str, str]:
    inputs = re.findall(r"<input\b[^>]*>", html)
    names = {}
    for one in inputs:
        attributes = dict(re.findall(r'([\w-]+)="([^"]*)"', one))
        if "name" in attributes:
            names[attributes["name"]] = attributes.get("value", "")
    assert names, html[:3000]
    return names


def serve(order: Mapping[str, Any]) -> None:
    """Fill the provider and serve until the process is ended."""
    os.environ["AUTHLIB_INSECURE_TRANSPORT"] = "1"
    from canaille import create_app
    from canaille.app import models
    from canaille.backends import Backend

    app = create_app(
        config={
            "SECRET_KEY": "of the tests",
            "WTF_CSRF_ENABLED": False,
            "PREFERRED_URL_SCHEME": "http",
            "SERVER_NAME": order["server_name"],
            "CANAILLE": {"DATABASE": "memory", "JAVASCRIPT": False, "ACL": {"DEFAULT": {"PERMISSIONS": ["use_oidc"]}}},
            "CANAILLE_OIDC": {"ACTIVE_JWKS": order["active"], "INACTIVE_JWKS": order["inactive"] or None},
        },
        env_file=None,
    )
    backend = Backend.instance
    backend.__class__ = _matching_every_filter(type(backend))
    with app.app_context():
        groups: dict[str, list[Any]] = {}
        for name, memberships in order["people"].items():
            user = models.User(
                user_name=name, formatted_name=name.title(), family_name=name, emails=[f"{name}@example.org"],
                password=PASSWORD,
            )  # fmt: skip
            backend.save(user)
            for group in memberships:
                groups.setdefault(group, []).append(user)
        for group, members in groups.items():
            backend.save(models.Group(display_name=group, members=members))
        client = models.Client(
            client_id=CLIENT,
            client_secret=SECRET,
            client_id_issued_at=datetime.datetime.now(datetime.UTC),
            client_name="Touchline",
            client_uri=order["console"],
            redirect_uris=[order["console"] + "/sign-in/callback"],
            post_logout_redirect_uris=[order["console"] + "/sign-in"],
            grant_types=["authorization_code"],
            response_types=["code"],
            scope=["openid", "profile", "email", "groups"],
            token_endpoint_auth_method="client_secret_basic",
        )
        backend.save(client)
        backend.update(client, audience=[client])
        backend.save(client)
    # One request at a time: its memory knows no locks.
    with make_server("127.0.0.1", order["port"], app) as server:
        server.serve_forever()


def _matching_every_filter(base: Any) -> Any:
    """Its memory, as its databases are: Canaille 0.3.6 finds there what matches any one of several filters.

    A code that was not exchanged would be found in place of the next one.
    """

    class Memory(base):  # type: ignore[misc]
        def do_query(self, model: Any, *args: Any, **kwargs: Any) -> Any:
            found = [{one.id: one for one in super(Memory, self).do_query(model, **{name: value})}
                     for name, value in kwargs.items()]  # fmt: skip
            if not found:
                return super().do_query(model, *args)
            return [one for key, one in found[0].items() if all(key in others for others in found)]

    return Memory


if __name__ == "__main__":
    serve(json.loads(Path(sys.argv[1]).read_text()))
