"""The kind: what an unset variable leaves behind is no secret of an endpoint, however it is written."""

import pytest
from touchline_notifier.core.delivery.endpoints import parse_endpoints
from touchline_runtime.yaml.positions import FaultyDocumentError

WEBHOOK = "{{name: crm, url: 'https://crm.example.org/h', secret: {secret}}}"
MAIL = "{{name: m, type: email, from: a@b.example, smtp: {{host: h, user: u, password: {secret}}}}}"


@pytest.mark.parametrize("entry", [WEBHOOK, MAIL])
@pytest.mark.parametrize("value", ["", " ", ",", ":", "whsec_", "${CRM_SECRET}", "''"])
def test_a_secret_of_an_unset_variable_is_refused(entry: str, value: str) -> None:
    for secret in ("{env: CRM}", '"' + value + '"'):
        text = f"endpoints: [{entry.format(secret=secret)}]"
        with pytest.raises(FaultyDocumentError, match=r"secret|password"):
            parse_endpoints(text, "endpoints.yaml", environ={"CRM": value}, read_file=lambda path: value)
