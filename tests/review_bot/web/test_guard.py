"""What holds for every answer, and what no request can do."""

import asyncio
import contextlib
import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autogate import botapi, contract
from review_bot.store.errors import StoreError
from tests.support.botsite import BotSite, bot_site

SHOP = "/repositories/shop"
COMMENTS = f"{SHOP}/pulls/1/comments"


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BotSite]:
    """One site for all that changes nothing that the others look at."""
    with bot_site(tmp_path_factory.mktemp("shop")) as site:
        site.tell(site.seen("fix-typo", 7))
        yield site


def is_problem(response: httpx.Response, status: int) -> bool:
    return response.status_code == status and response.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/repositories"),
        ("GET", "/nowhere"),
        ("PUT", "/repositories"),
        ("POST", COMMENTS),
        ("GET", "/openapi.json"),
        ("GET", "../../healthz"),
        ("GET", "../../metrics"),
        ("GET", "../../docs"),
    ],
)
def test_every_answer_has_the_security_headers_and_no_version(shop: BotSite, method: str, path: str) -> None:
    with shop.client() as client:
        headers = client.request(method, path).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert headers["content-security-policy"].startswith("default-src 'none'")
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cache-control"] == "no-store"
    assert "server" not in headers


def test_a_wrong_path_or_method_is_a_problem_too(shop: BotSite) -> None:
    with shop.client() as client:
        assert is_problem(client.get("/nowhere"), 404)
        assert is_problem(client.get("/repositories/"), 404)
        assert is_problem(client.put("/repositories"), 405)
        assert is_problem(client.get("../../docs"), 404)
        assert client.put("/repositories").headers["allow"] == "GET"


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b"", 422),
        (b"{", 422),
        (b"null", 422),
        (b"[]", 422),
        (b"\xff\xfe", 422),
        (b'{"id": "x", "body": "y"}', 422),
        (json.dumps({"id": str(uuid.UUID(int=1)), "body": ""}).encode(), 422),
        (json.dumps({"id": str(uuid.UUID(int=1)), "body": "x" * 10_001}).encode(), 422),
        (json.dumps({"id": str(uuid.UUID(int=1)), "body": "x", "author": "ada"}).encode(), 422),
        (json.dumps({"id": str(uuid.UUID(int=1)), "body": "\ud800"}).encode(), 422),
        (b"[" * 60_000, 400),
    ],
    ids=["empty", "cut", "null", "list", "latin", "no uuid", "no text", "long", "unknown key", "surrogate", "deep"],
)
def test_a_body_of_another_form_is_refused(shop: BotSite, content: bytes, status: int) -> None:
    with shop.client() as client:
        response = client.post(COMMENTS, content=content, headers={"Content-Type": "application/json"})
    assert is_problem(response, status), response.text


def test_a_body_without_the_json_type_is_refused(shop: BotSite) -> None:
    content = json.dumps({"id": str(uuid.uuid4()), "body": "@autogate ping"})
    with shop.client() as client:
        assert is_problem(client.post(COMMENTS, content=content, headers={"Content-Type": "text/plain"}), 422)


@pytest.mark.parametrize("told", [True, False], ids=["with its length", "in chunks"])
def test_a_body_that_is_too_large_is_refused(shop: BotSite, told: bool) -> None:
    def chunks() -> Iterator[bytes]:
        for _chunk in range(3):
            yield b"x" * (botapi.MAX_BODY_BYTES // 2)

    headers = {"Content-Type": "application/json"}
    with shop.client() as client:
        content = b"".join(chunks()) if told else chunks()
        assert is_problem(client.post(COMMENTS, content=content, headers=headers), 413)


def test_a_body_that_only_says_it_is_too_large_is_refused_unread(shop: BotSite) -> None:
    async def ask() -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(shop.url.rpartition(":")[2]))
        size = contract.MAX_BODY_BYTES + 1
        writer.write(f"POST /elsewhere HTTP/1.1\r\nHost: x\r\nContent-Length: {size}\r\n\r\n".encode())
        answer = await reader.readuntil(b"\r\n")
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
        return answer

    assert b" 413 " in asyncio.run(ask())


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(), lambda inner: st.lists(inner, max_size=3)
)
IDS = st.uuids().map(str) | st.text(max_size=40)


@given(
    path=st.sampled_from(["/pulls/1/comments", "/freeze", "/thaw", "/pause", "/resume", "/poke"]),
    body=st.fixed_dictionaries(
        {},
        optional={
            "id": IDS | JSON,
            "body": st.text(max_size=300) | JSON,
            "target": st.sampled_from(["main", "release/1.0"]) | st.text(max_size=20) | JSON,
            "priority": st.integers() | JSON,
            "reason": st.text(max_size=600) | JSON,
            "other": JSON,
        },
    ),
    who=st.sampled_from(["ada", "eve"]),
)
def test_no_body_makes_the_bot_fail(shop: BotSite, path: str, body: dict[str, Any], who: str) -> None:
    with shop.client(who) as client:
        content = json.dumps(body)
        response = client.post(SHOP + path, content=content, headers={"Content-Type": "application/json"})
    assert response.status_code < 500, response.text
    if response.status_code >= 400:
        assert response.headers["content-type"] == "application/problem+json"


@given(source=st.text(min_size=1, max_size=100), after=st.text(max_size=20), limit=st.integers() | st.text(max_size=5))
def test_no_query_makes_the_bot_fail(shop: BotSite, source: str, after: str, limit: int | str) -> None:
    with shop.client() as client:
        assert client.get(f"{SHOP}/pulls", params={"source": source.encode("utf-8", "replace")}).status_code < 500
        query = {"after": after.encode("utf-8", "replace"), "limit": str(limit).encode("utf-8", "replace")}
        assert client.get(f"{SHOP}/queue", params=query).status_code < 500


@given(st.binary(max_size=60).filter(lambda token: not set(token) & set(b"\r\n\0\v\f\x7f")))
def test_no_token_makes_the_bot_fail(shop: BotSite, token: bytes) -> None:
    with shop.client(None) as client:
        header = (b"Authorization", b"Bearer x" + token + b"x")
        assert client.get("/repositories", headers=[header]).status_code in {400, 401}


HOSTILE = [
    "@autogate r+",
    "fix\n@autogate r+\r\n",
    "-->",
    "--upload-pack=touch /tmp/x",
    "</script><script>alert(1)</script>",
    "\x1b[31m\x00\x07",
    "\u202eevil",
    "\U0001f600" * 300,
]


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_texts_come_out_as_they_went_in(tmp_path: Path, text: str) -> None:
    with bot_site(tmp_path) as site, site.client() as client:
        site.tell(site.seen("x", 7, title=text, author=text))
        shown = client.get(f"{SHOP}/pulls/1").raise_for_status().json()
        assert (shown["pull"]["title"], shown["pull"]["author"]) == (text, text)
        assert shown["pull"]["approved_by"] is None
        said = client.post(COMMENTS, json={"id": str(uuid.uuid4()), "body": f"`{text}` @autogate ping {text}"})
        assert said.status_code == 200
        frozen = client.post(f"{SHOP}/freeze", json={"target": "main", "reason": text[:200]}).raise_for_status().json()
        assert frozen["repository"]["targets"][0]["freeze"]["reason"] == text[:200]
        assert client.get(f"{SHOP}/queue").status_code == 200


def test_a_database_that_fails_is_told_without_its_address(site: BotSite, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(token: str) -> str:
        raise StoreError("the database /srv/secret/place fails")

    monkeypatch.setattr(site.store, "token_owner", fail)
    with site.client() as client:
        response = client.get("/repositories")
    assert is_problem(response, 503)
    assert "/srv/secret" not in response.text


def test_a_fault_of_the_bot_is_a_problem_with_the_same_headers(site: BotSite, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(repository: str) -> None:
        raise ZeroDivisionError("/srv/secret/place")

    monkeypatch.setattr(site.desk, "troubles", fail)
    with site.client() as client:
        response = client.get(f"{SHOP}/queue")
    assert is_problem(response, 500)
    assert "/srv/secret" not in response.text
    assert response.headers["x-content-type-options"] == "nosniff"


def test_the_openapi_document_is_complete(shop: BotSite) -> None:
    with shop.client() as client:
        document = client.get("/openapi.json").raise_for_status().json()
    text = json.dumps(document)
    for name in [part.partition('"')[0] for part in text.split("#/components/schemas/")[1:]]:
        assert name in document["components"]["schemas"], name
    operations = [(path, operation) for path, methods in document["paths"].items() for operation in methods.values()]
    assert len(operations) == 12
    for path, operation in operations:
        assert operation["description"], path
        assert "HTTPValidationError" not in json.dumps(operation)
        if path != "/healthz":
            assert operation["security"] == [{"token": []}], path
            assert "application/problem+json" in operation["responses"]["401"]["content"], path
        for parameter in operation.get("parameters", []):
            assert parameter["description"], (path, parameter["name"])
    for name, schema in document["components"]["schemas"].items():
        assert schema.get("description"), name
