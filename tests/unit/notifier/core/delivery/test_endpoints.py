"""The endpoints file."""

import pytest
from touchline_notifier.core.delivery.endpoints import Endpoint, parse_endpoints
from touchline_runtime.yaml.positions import FaultyDocumentError


def parse(text: str) -> dict[str, Endpoint]:
    def read_file(path: str) -> str:
        if path == "/run/secret":
            return "whsec_fromfile\n"
        raise FileNotFoundError(2, "No such file or directory", path)

    return parse_endpoints(text, "endpoints.yaml", environ={"CRM": "whsec_fromenv"}, read_file=read_file)


def test_secrets_come_from_the_environment_a_file_or_the_text() -> None:
    read = parse(
        "endpoints:\n"
        "  - {name: a, url: 'https://a.example', secret: {env: CRM}}\n"
        "  - {name: b, url: {env: CRM}, secret: [{file: /run/secret}, whsec_old]}\n"
    )
    assert [one.get_secret_value() for one in read["a"].secret] == ["whsec_fromenv"]
    assert [one.get_secret_value() for one in read["b"].secret] == ["whsec_fromfile", "whsec_old"]
    assert "whsec" not in repr(read)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("endpoints: [{name: a, secret: {env: MISSING}}]", "endpoints[0].secret: the environment variable MISSING"),
        ("endpoints: [{name: a, secret: {file: /none}}]", "can't read /none: No such file or directory"),
        ("endpoints: [{name: a, secret: {vault: x}}]", "write a text, {env: NAME} or {file: PATH}"),
        ("endpoints: [{name: a, urls: x}]", "endpoints[0].urls: unknown: known are audiences"),
        ("endpoints: [{name: a}, {name: a}]", "there are two endpoints 'a'"),
        ("endpoints: [{name: a, subscribe: [moved]}]", "endpoints[0].subscribe[0]: Input should be 'stage-changed'"),
        ("endpoint: []", "write a list under `endpoints:`"),
        ("endpoints: [a]", "write {name: …"),
        ("endpoints: [", "not YAML"),
        ("", "write a list under `endpoints:`"),
    ],
)
def test_faults_say_what_to_write(text: str, message: str) -> None:
    with pytest.raises(FaultyDocumentError, match=r"endpoints\.yaml") as caught:
        parse(text)
    assert message in str(caught.value)


def test_a_subscription_is_filtered_by_lifecycle_stage_and_move() -> None:
    endpoint = Endpoint(name="a", subscribe=("stage-changed",), lifecycles=("journey",), moves=("regress",))
    assert endpoint.wants("stage-changed", lifecycle="journey", stage="use", move="regress", backfill=False)
    assert not endpoint.wants("stage-changed", lifecycle="journey", stage="use", move="advance", backfill=False)
    assert not endpoint.wants("stage-changed", lifecycle="other", stage="use", move="regress", backfill=False)
    assert not endpoint.wants("stage-changed", lifecycle="journey", stage="use", move="regress", backfill=True)
    assert not endpoint.wants("customer-stalled", lifecycle="journey", stage="use", move=None, backfill=False)
