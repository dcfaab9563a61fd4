"""Kind: a misspelt filter that answers with everything, or with nothing, as if it had been understood."""

import httpx
import pytest
from fastapi import APIRouter, Depends, FastAPI, Query
from touchline_runtime.http import problems
from touchline_runtime.http.parameters import only_known_parameters, refuse


def _paged(limit: int = 50) -> int:
    return limit


@pytest.fixture
def client() -> httpx.AsyncClient:
    app = FastAPI()
    problems.install(app)
    router = APIRouter()

    @router.get("/things/{name:path}")
    async def things(
        name: str, since: int | None = Query(default=None, alias="from"), limit: int = Depends(_paged)
    ) -> int:
        if name == "nothing":
            refuse("thing", name, ["something", "anything"])
        return limit

    app.include_router(router, dependencies=[Depends(only_known_parameters)])
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test")


@pytest.mark.parametrize("query", ["", "limit=3", "from=1&limit=3", "limit=3&limit=4"])
async def test_the_parameters_a_route_has_are_taken_those_of_its_dependencies_too(
    client: httpx.AsyncClient, query: str
) -> None:
    assert (await client.get(f"/things/a/b?{query}")).status_code == 200


@pytest.mark.parametrize("query", ["Limit=3", "limits=3", "since=1", "name=a", "limit=3&x", "from=1&=2"])
async def test_any_other_is_refused_with_the_names_there_are(client: httpx.AsyncClient, query: str) -> None:
    answer = await client.get(f"/things/a?{query}")
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert "There are: from, limit" in answer.json()["detail"]


async def test_a_value_that_stands_for_nothing_is_refused_with_the_nearest_one(client: httpx.AsyncClient) -> None:
    answer = await client.get("/things/nothing")
    assert (answer.status_code, answer.json()["type"]) == (422, "/problems/invalid-request")
    assert "did you mean 'anything'?" in answer.json()["detail"] or "something" in answer.json()["detail"]
