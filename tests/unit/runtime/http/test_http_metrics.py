"""Rate, errors and duration of requests: counted once each, by bounded labels, the refused and the failed ones too."""

import httpx
from prometheus_client.parser import text_string_to_metric_families
from touchline_runtime.http.app import build_app
from touchline_runtime.metrics import Metrics
from touchline_runtime.process.health import Health


async def scraped(app: object) -> list[tuple[str, dict[str, str], float]]:
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)  # type: ignore[arg-type]
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        for path in ("/things/1", "/things/2", "/things/secret%20name", "/nowhere/1", "/nowhere/2", "/broken"):
            await client.get(path)
        await client.request("BREW", "/things/1")
        await client.post("/things/1", content=b"x" * 2_000_000)
        text = (await client.get("/metrics")).text
    return [
        (sample.name, sample.labels, sample.value)
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    ]


async def test_requests_are_counted_by_route_template_method_and_status() -> None:
    health = Health()

    async def well() -> None:
        return

    async def ill() -> None:
        raise ConnectionRefusedError("away")

    health.add("kafka", well)
    health.add("database", ill)
    app = build_app("Touchline stage engine", version="1", about="", health=health, metrics=Metrics([]))

    @app.get("/things/{thing}")
    async def thing(thing: str) -> str:
        return thing

    @app.get("/broken")
    async def broken() -> None:
        raise RuntimeError("a fault of ours")

    found = await scraped(app)
    counts = {
        (labels["method"], labels["route"], labels["status"]): value
        for name, labels, value in found
        if name == "touchline_http_requests_total"
    }
    assert {labels["service"] for name, labels, _ in found if name.startswith("touchline_http")} == {"stage-engine"}
    assert counts["GET", "/things/{thing}", "200"] == 3
    assert counts["GET", "none", "404"] == 2
    assert counts["GET", "/broken", "500"] == 1
    assert counts["POST", "none", "413"] == 1
    assert counts["other", "/things/{thing}", "405"] == 1
    # What hasn't happened yet is there as 0, so that its first time is a rise.
    assert counts["GET", "none", "503"] == 0
    durations = {
        labels["route"]: value for name, labels, value in found if name == "touchline_http_request_seconds_count"
    }
    assert durations["/things/{thing}"] == 4
    assert durations["/broken"] == 1
    ready = {labels["check"]: value for name, labels, value in found if name == "touchline_ready"}
    assert ready == {"kafka": 1.0, "database": 0.0}
