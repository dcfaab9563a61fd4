"""Sign-in by a real identity provider: who comes in, what they may do, and whom the audit log names."""

from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from playwright.sync_api import Browser
from touchline_runtime.console_tokens.keys import new_key, private_text

from tests.support.console.identity_provider import CLIENT, PASSWORD, sign_in, to_callback
from tests.support.console.look import Look
from tests.support.console.oidc_world import TOKEN, OidcWorld
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.stack, pytest.mark.browser]


def test_a_person_signs_in_with_their_highest_role_and_the_audit_log_names_them(oidc: OidcWorld) -> None:
    with oidc.browser() as http:
        answer = sign_in(http, oidc.url, "olga", "/operations?days=7")
        assert (answer.status_code, answer.headers["location"]) == (303, "/operations?days=7")
        session = next(one for one in answer.headers.get_list("set-cookie") if one.startswith("touchline_session="))
        assert "httponly" in session.lower()
        assert "samesite=lax" in session.lower()
        assert "olga@example.org · operator" in http.get(oidc.url + "/operations").text
        for on in ("0", "1"):
            assert http.post(oidc.url + "/sending", data={"on": on, "reason": "a wrong price"}).status_code == 303
    entries = [(one["action"], one["actor"], one["role"]) for one in oidc.audit()[:2]]
    name, role = "oidc:olga@example.org", "operator"
    assert entries == [("sending_resumed", name, role), ("sending_paused", name, role)]


@pytest.mark.parametrize(("user", "role"), [("vera", "viewer"), ("edith", "editor")])
def test_a_lower_role_changes_nothing_that_needs_a_higher_one(oidc: OidcWorld, user: str, role: str) -> None:
    before = len(oidc.audit())
    with oidc.browser() as http:
        sign_in(http, oidc.url, user)
        page = http.get(oidc.url + "/operations").text
        assert f"{user}@example.org · {role}" in page
        assert "Switch sending off" not in page
        forged = {"Authorization": "Bearer x", "X-Touchline-Actor": "olga@example.org", "X-Touchline-Role": "operator"}
        for headers in ({}, forged):
            assert http.post(oidc.url + "/sending", data={"on": "0"}, headers=headers).status_code == 403
    assert len(oidc.audit()) == before


def test_a_person_without_a_mapped_group_is_told_what_to_do(oidc: OidcWorld) -> None:
    with oidc.browser() as http:
        answer = sign_in(http, oidc.url, "nobody")
        assert answer.status_code == 403
        assert "none of your groups there has a role here" in answer.text
        assert "TOUCHLINE_OIDC_ROLES" in answer.text
        assert "touchline_session" not in http.cookies
        assert http.get(oidc.url + "/customers").status_code == 303


def test_tokens_open_the_console_beside_the_provider(oidc: OidcWorld) -> None:
    with oidc.browser() as http:
        page = http.get(oidc.url + "/sign-in").text
        assert "Sign in with your identity provider" in page
        assert http.post(oidc.url + "/sign-in", data={"token": TOKEN}).status_code == 303
        assert "api-token-1 · operator" in http.get(oidc.url + "/operations").text


def test_signing_out_ends_the_session_and_leads_to_the_provider(oidc: OidcWorld) -> None:
    with oidc.browser() as http:
        sign_in(http, oidc.url, "vera")
        session = http.cookies["touchline_session"]
        page = http.post(oidc.url + "/sign-out")
        assert page.status_code == 200
        address = page.text.split("url=", 1)[1].split('"', 1)[0].replace("&amp;", "&")
        parameters = parse_qs(urlsplit(address).query)
        assert address.startswith(f"{oidc.provider.issuer}/oauth/end_session?")
        assert parameters["client_id"] == [CLIENT]
        assert parameters["post_logout_redirect_uri"] == [f"{oidc.url}/sign-in"]
        assert parameters["id_token_hint"][0].count(".") == 2
        done = http.get(address)
        assert (done.status_code, done.headers["location"]) == (302, f"{oidc.url}/sign-in")
    with oidc.browser(cookies={"touchline_session": session}) as other:
        assert other.get(oidc.url + "/customers").status_code == 303, "a session that was ended opens nothing"


def test_a_session_of_before_is_good_for_nothing_after(oidc: OidcWorld) -> None:
    with oidc.browser() as http:
        sign_in(http, oidc.url, "vera")
        before = http.cookies["touchline_session"]
        sign_in(http, oidc.url, "vera")
        assert http.cookies["touchline_session"] != before
    with oidc.browser(cookies={"touchline_session": before}) as other:
        assert other.get(oidc.url + "/customers").status_code == 303
    chosen = "a-session-that-somebody-else-chose"
    with oidc.browser(cookies={"touchline_session": chosen}) as other:
        sign_in(other, oidc.url, "vera")
    with oidc.browser(cookies={"touchline_session": chosen}) as other:
        assert other.get(oidc.url + "/customers").status_code == 303


def test_the_provider_may_change_its_key(oidc: OidcWorld) -> None:
    with oidc.browser() as first, oidc.browser() as second:
        assert sign_in(first, oidc.url, "vera").status_code == 303
        oidc.provider.rotate()
        assert sign_in(second, oidc.url, "vera").status_code == 303
        assert first.get(oidc.url + "/customers").status_code == 200


def test_while_the_provider_is_away_sessions_go_on_and_signing_in_says_so(oidc: OidcWorld) -> None:
    with oidc.browser() as http, oidc.browser() as waiting:
        sign_in(http, oidc.url, "vera")
        callback = to_callback(waiting, oidc.url, "edith")
        oidc.provider.stop()
        try:
            # A console that starts meanwhile: it knows nothing of the provider yet.
            service = oidc.console("started-meanwhile").wait_ready()
            try:
                asked = http.get(service.url + "/sign-in/provider", params={"next": "/plays"})
                assert asked.status_code == 503
                assert "Sign in with a token, or try again" in asked.text
                assert oidc.provider.issuer in asked.text
                assert 'value="/plays"' in asked.text
            finally:
                service.terminate()
            assert http.get(oidc.url + "/customers").status_code == 200
            assert "vera@example.org" in http.get(oidc.url + "/operations").text
            assert waiting.get(callback).status_code == 503
            # A console that knows the provider sends nobody to where nothing answers.
            wait_for(
                lambda: http.get(oidc.url + "/sign-in/provider").status_code == 503, "signing in says so", interval=0.5
            )
            for path in ("/readyz", "/healthz"):
                assert http.get(oidc.url + path).status_code == 200
        finally:
            oidc.provider.start()
        assert sign_in(waiting, oidc.url, "edith").status_code == 303


def test_a_service_that_does_not_know_the_consoles_key_is_named_and_nobody_signs_in_for_ever(oidc: OidcWorld) -> None:
    port = urlsplit(oidc.url).port
    assert port is not None
    service = oidc.console("other-key", TOUCHLINE_CONSOLE_KEY=private_text(new_key()))
    try:
        service.wait_ready()
        with oidc.browser() as http:
            answer = sign_in(http, service.url, "vera", callback_at=service.url)
            assert answer.status_code == 303
            page = http.get(service.url + "/plays")
            assert page.status_code == 403
            assert "The notifier rejected the request" in page.text
            assert "TOUCHLINE_CONSOLE_PUBLIC_KEYS" in page.text
    finally:
        service.terminate()


def test_in_a_browser(oidc: OidcWorld, browser: Browser) -> None:
    look = Look(browser, oidc.url)
    for width in (1400, 390):
        with look.page("/sign-in?next=/deliveries", width=width):
            assert look.accessibility() == []
            assert look.complaints() == []
            page = look.now
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            page.get_by_role("link", name="Sign in with your identity provider").click()
            page.get_by_label("Login").or_(page.locator("input[name=login]")).first.fill("edith")
            page.keyboard.press("Enter")
            page.locator("input[name=password]").fill(PASSWORD)
            page.keyboard.press("Enter")
            page.wait_for_url(f"{oidc.url}/deliveries")
            page.get_by_role("heading", name="Deliveries").first.wait_for()
            if width == 390:
                page.locator("summary", has_text="Menu").click()
            page.get_by_role("button", name="Sign out").click()
            page.wait_for_url(f"{oidc.url}/sign-in")
            # Cookies don't know ports: the provider's are among them.
            names = {one.get("name") for one in page.context.cookies(oidc.url)}
            assert not names & {"touchline_session", "touchline_sign_in"}
            assert httpx.URL(page.url).path == "/sign-in"
