"""The API on a real port, each route's good and bad cases."""

import threading
import uuid
from typing import Any

import httpx
import pytest

from autogate import botapi
from autogate.botapi import Problem
from review_bot.domain.events import PullRequestGone
from tests.support.botsite import BotSite, sha
from tests.support.waiting import wait_for

SHOP = "/repositories/shop"

PATHS = [
    ("GET", "/repositories"),
    ("GET", f"{SHOP}/queue"),
    ("GET", f"{SHOP}/pulls/1"),
    ("GET", f"{SHOP}/pulls?source=x"),
    ("POST", f"{SHOP}/pulls/1/comments"),
    ("POST", f"{SHOP}/freeze"),
    ("POST", f"{SHOP}/thaw"),
    ("POST", f"{SHOP}/pause"),
    ("POST", f"{SHOP}/resume"),
    ("POST", f"{SHOP}/poke"),
]

BODIES: dict[str, dict[str, Any]] = {
    "comments": {"id": str(uuid.UUID(int=1)), "body": "@autogate ping"},
    "freeze": {"target": "main", "reason": "release"},
    "thaw": {"target": "main"},
    "pause": {"reason": "moving house"},
}


def body_of(path: str) -> dict[str, Any] | None:
    return BODIES.get(path.rpartition("/")[2])


def problem(response: httpx.Response, status: int) -> Problem:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    told = Problem.model_validate_json(response.content)
    assert told.status == status
    assert told.detail
    return told


def comment(client: httpx.Client, number: int, body: str, key: uuid.UUID | None = None) -> botapi.CommandResult:
    response = client.post(f"{SHOP}/pulls/{number}/comments", json={"id": str(key or uuid.uuid4()), "body": body})
    assert response.status_code == 200, response.text
    return botapi.CommandResult.model_validate_json(response.content)


def queue(client: httpx.Client, **query: Any) -> botapi.Queue:
    return botapi.Queue.model_validate_json(client.get(f"{SHOP}/queue", params=query).raise_for_status().content)


def detail(client: httpx.Client, number: int, **query: Any) -> botapi.PullRequestDetail:
    response = client.get(f"{SHOP}/pulls/{number}", params=query).raise_for_status()
    return botapi.PullRequestDetail.model_validate_json(response.content)


@pytest.mark.parametrize(("method", "path"), PATHS)
def test_nothing_is_told_or_done_without_a_token(site: BotSite, method: str, path: str) -> None:
    for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": f"Basic {site.tokens['ada']}"}):
        with site.client(None) as client:
            response = client.request(method, path, headers=headers, json=body_of(path))
        assert "autogate-bot token add NAME" in problem(response, 401).cure
        assert response.headers["www-authenticate"].startswith("Bearer")
    site.run(site.store.revoke_token("ada"))
    with site.client() as client:
        problem(client.request(method, path, json=body_of(path)), 401)


@pytest.mark.parametrize(("method", "path"), PATHS[1:])
def test_an_unknown_repository_is_answered_with_those_that_there_are(site: BotSite, method: str, path: str) -> None:
    with site.client() as client:
        told = problem(client.request(method, path.replace("shop", "shpo"), json=body_of(path)), 404)
    assert told.near == ("library", "shop")
    assert "shop" in told.cure


def test_the_repositories_are_listed_with_what_holds_for_them(site: BotSite) -> None:
    site.tell(site.seen("fix-typo", 7))
    with site.client() as client:
        client.post(f"{SHOP}/freeze", json={"target": "main", "priority": 5, "reason": "release"}).raise_for_status()
        client.post(f"{SHOP}/pause", json={"reason": "moving house"}).raise_for_status()
        answer = botapi.Repositories.model_validate_json(client.get("/repositories").content)
    assert answer.bot == "autogate"
    library, shop = answer.repositories
    assert (library.name, library.open, library.pause) == ("library", 0, None)
    assert (shop.name, shop.open) == ("shop", 1)
    assert shop.pause is not None
    assert (shop.pause.by, shop.pause.reason) == ("ada", "moving house")
    assert [target.name for target in shop.targets] == ["main", "release/1.0"]
    freeze = shop.targets[0].freeze
    assert freeze is not None
    assert (freeze.priority, freeze.reason, freeze.by) == (5, "release", "ada")
    assert shop.targets[0].tip == sha(1)


def test_the_queue_shows_who_is_tested_who_waits_who_is_set_aside_and_who_is_not_approved(site: BotSite) -> None:
    site.tell(*(site.seen(topic, 10 + place) for place, topic in enumerate(["a", "b", "c", "d", "e"])))
    site.tell(site.seen("hotfix", 20, target="release/1.0"))
    with site.client() as client:
        comment(client, 2, f"@autogate r+ {sha(11)}")
        site.fail()
        comment(client, 3, f"@autogate r+ {sha(12)}")
        comment(client, 4, f"@autogate r+ {sha(13)}")
        comment(client, 5, f"@autogate r+ {sha(14)}\n@autogate p=3")
        shown = queue(client)
        release = queue(client, target="release/1.0")
    entries = {entry.number: entry for entry in shown.entries}
    assert [entry.number for entry in shown.entries] == [3, 5, 4, 2, 1, 6]
    assert [entries[number].state for number in (3, 5, 4, 2, 1, 6)] == [
        "testing",
        "queued",
        "queued",
        "aside",
        "open",
        "open",
    ]
    assert [entries[number].position for number in (3, 5, 4, 2, 1, 6)] == [None, 1, 2, None, None, None]
    assert all(entry.waiting for entry in shown.entries)
    assert (entries[5].priority, entries[5].approved_by, entries[5].topic) == (3, "ada", "e")
    assert shown.total == 6
    assert shown.next is None
    assert shown.repository.targets[0].queued == 3
    live = shown.repository.targets[0].attempt
    assert live is not None
    assert [member.number for member in live.members] == [3]
    assert [builder.name for builder in live.builders] == ["shop-lint", "shop-test"]
    assert entries[3].attempt == live.id
    assert [entry.number for entry in release.entries] == [6]


def test_an_unknown_target_is_answered_with_those_that_there_are(site: BotSite) -> None:
    with site.client() as client:
        assert problem(client.get(f"{SHOP}/queue", params={"target": "mian"}), 404).near == ("main", "release/1.0")
        for what in ("freeze", "thaw"):
            assert "main" in problem(client.post(f"{SHOP}/{what}", json={"target": "mian"}), 404).cure


@pytest.mark.parametrize(
    "query",
    [{"limit": 0}, {"limit": 1001}, {"limit": "x"}, {"after": "x"}, {"after": "1-"}, {"wait": -1}, {"wait": "nan"}],
    ids=str,
)
def test_a_wrong_query_is_answered_with_what_is_wrong(site: BotSite, query: dict[str, Any]) -> None:
    with site.client() as client:
        assert next(iter(query)) in problem(client.get(f"{SHOP}/queue", params=query), 422).detail


def test_a_pull_request_is_shown_with_what_failed_and_what_happened(site: BotSite) -> None:
    site.tell(site.seen("fix-typo", 7))
    with site.client() as client:
        answer = comment(client, 1, f"@autogate r+ {sha(7)}")
        assert (answer.refused, answer.settled, answer.pull.state) == (False, True, "testing")
        site.fail()
        shown = detail(client, 1)
    assert (shown.pull.state, shown.pull.head, shown.bot) == ("aside", sha(7), "autogate")
    assert [verdict.builder for verdict in shown.verdicts] == ["shop-lint"]
    (verdict,) = shown.verdicts
    assert (verdict.findings[0].symbol, verdict.failed_tests[0].name) == ("unused-import", "tests.test_x.test_sum")
    assert "unused-import" in shown.status
    assert "assert 1 == 2" in shown.status
    assert [attempt.stage for attempt in shown.attempts] == ["failed"]
    assert any(entry.trace == answer.trace for entry in shown.timeline)
    assert [entry.id for entry in shown.timeline] == sorted((entry.id for entry in shown.timeline), reverse=True)
    assert all(entry.text for entry in shown.timeline)
    assert shown.earlier is None


def test_a_pull_request_that_has_ended_is_still_shown_and_found(site: BotSite) -> None:
    site.tell(site.seen("fix-typo", 7), site.seen("other", 8))
    with site.client() as client:
        comment(client, 1, f"@autogate r+ {sha(7)}")
        site.pass_all()
        now = site.desk.now()
        site.tell(PullRequestGone(number=2, read_at=now, at=now))
        landed, closed = detail(client, 1), detail(client, 2)
        found = client.get(f"{SHOP}/pulls", params={"source": "main/fix-typo"}).json()["pulls"]
    assert (landed.pull.state, closed.pull.state) == ("landed", "closed")
    assert landed.pull.landed_as == landed.attempts[0].sha
    assert [pull["number"] for pull in found] == [1]


def test_a_timeline_is_read_page_by_page(site: BotSite) -> None:
    site.tell(site.seen("fix-typo", 7))
    with site.client() as client:
        for place in range(60):
            comment(client, 1, f"@autogate p={place}")
        first = detail(client, 1)
        assert first.earlier is not None
        ids = [entry.id for entry in first.timeline]
        page = first
        while page.earlier is not None:
            page = detail(client, 1, before=page.earlier)
            ids += [entry.id for entry in page.timeline]
    assert ids == sorted(set(ids), reverse=True)
    assert len(ids) == 61


@pytest.mark.parametrize("number", ["0", "-1", "x", str(2**31), "99999999999999999999999"])
def test_what_is_no_number_of_a_pull_request_is_refused(site: BotSite, number: str) -> None:
    with site.client() as client:
        problem(client.get(f"{SHOP}/pulls/{number}"), 422)


def test_an_unknown_pull_request_is_answered_with_near_ones(site: BotSite) -> None:
    site.tell(*(site.seen(f"t{place}", place) for place in range(12)))
    with site.client() as client:
        assert "12" in problem(client.get(f"{SHOP}/pulls/122"), 404).near
        problem(client.post(f"{SHOP}/pulls/122/comments", json=BODIES["comments"]), 404)


@pytest.mark.parametrize("name", ["fix-typo", "main/fix-typo", "refs/for/main/fix-typo"])
def test_a_topic_is_found_by_each_of_its_names(site: BotSite, name: str) -> None:
    site.tell(site.seen("fix-typo", 7), site.seen("fix", 8))
    with site.client() as client:
        found = botapi.Found.model_validate_json(client.get(f"{SHOP}/pulls", params={"source": name}).content)
    assert [pull.number for pull in found.pulls] == [1]


def test_a_topic_that_several_targets_have_is_found_for_each(site: BotSite) -> None:
    site.tell(site.seen("fix", 7), site.seen("fix", 8, target="release/1.0"))
    with site.client() as client:
        found = client.get(f"{SHOP}/pulls", params={"source": "fix"}).json()
        only = client.get(f"{SHOP}/pulls", params={"source": "release/1.0/fix"}).json()
    assert [pull["number"] for pull in found["pulls"]] == [1, 2]
    assert [pull["number"] for pull in only["pulls"]] == [2]


def test_an_unknown_topic_is_answered_with_near_ones(site: BotSite) -> None:
    site.tell(site.seen("fix-typo", 7))
    with site.client() as client:
        assert client.get(f"{SHOP}/pulls", params={"source": "fix-tpyo"}).json() == {"pulls": [], "near": ["fix-typo"]}
        problem(client.get(f"{SHOP}/pulls", params={"source": "a\0b"}), 422)
        problem(client.get(f"{SHOP}/pulls"), 422)


def test_a_repeated_request_is_one_comment_and_has_the_same_answer(site: BotSite) -> None:
    site.tell(site.seen("fix-typo", 7))
    key = uuid.uuid4()
    with site.client() as client:
        first = comment(client, 1, "@autogate ping", key)
        again = comment(client, 1, "@autogate ping", key)
        assert first.answers
        assert (again.answers, again.trace) == (first.answers, first.trace)
        before = len(detail(client, 1).timeline)
        other = comment(client, 1, "@autogate help", key)
        assert other.answers != first.answers
        assert len(detail(client, 1).timeline) > before
    with site.client("eve") as client:
        assert comment(client, 1, "@autogate ping", key).trace != first.trace


def test_the_token_is_who_comments(site: BotSite) -> None:
    site.tell(site.seen("fix-typo", 7))
    with site.client("eve") as client:
        refused = comment(client, 1, f"@autogate r+ {sha(7)}")
        assert refused.refused
        assert refused.answers
        assert refused.pull.approved_by is None
        unknown = comment(client, 1, "@autogate frobnicate")
        assert unknown.refused
    with site.client("ada") as client:
        assert comment(client, 1, f"@autogate r+ {sha(7)}").pull.approved_by == "ada"
        assert comment(client, 1, "thank you").answers == ()


def test_what_is_not_done_in_time_is_said_to_go_on(site: BotSite) -> None:
    site.tell(site.seen("fix-typo", 7))
    key = uuid.uuid4()
    with site.client() as client:
        site.desk.slow = True
        assert not comment(client, 1, "@autogate ping", key).settled
        site.desk.slow = False
        again = comment(client, 1, "@autogate ping", key)
    assert again.settled
    assert again.answers


@pytest.mark.parametrize("what", ["freeze", "thaw", "pause", "resume"])
@pytest.mark.parametrize("who", ["eve", "tim"])
def test_only_reviewers_may_stop_and_start_a_repository(site: BotSite, what: str, who: str) -> None:
    before = site.state().repository
    with site.client(who) as client:
        told = problem(client.post(f"{SHOP}/{what}", json=BODIES.get(what)), 403)
    assert "reviewers" in told.cure
    assert site.state().repository == before


def test_a_freeze_and_a_pause_are_ended_again(site: BotSite) -> None:
    with site.client() as client:
        for begin, end in (("freeze", "thaw"), ("pause", "resume")):
            begun = client.post(f"{SHOP}/{begin}", json=BODIES[begin]).raise_for_status().json()
            ended = client.post(f"{SHOP}/{end}", json=BODIES.get(end)).raise_for_status().json()
            assert begun["settled"]
            shop = begun["repository"]
            assert (shop["targets"][0]["freeze"] if begin == "freeze" else shop["pause"])["by"] == "ada"
            assert ended["repository"]["targets"][0]["freeze"] is None
            assert ended["repository"]["pause"] is None


def test_a_poke_finds_what_was_pushed(site: BotSite) -> None:
    site.desk.unseen["shop"] = [site.seen("fix-typo", 7)]
    with site.client("eve") as client:
        assert client.post(f"{SHOP}/poke").raise_for_status().json()["repository"]["open"] == 1
        site.desk.forge_error = "git.example.com does not answer: is it up?"
        assert "is it up?" in problem(client.post(f"{SHOP}/poke"), 502).detail


@pytest.mark.parametrize("path", [f"{SHOP}/queue", f"{SHOP}/pulls/1"])
def test_a_look_can_wait_for_a_change(site: BotSite, path: str) -> None:
    site.tell(site.seen("fix-typo", 7))
    answers: list[httpx.Response] = []
    with site.client() as client:
        first = client.get(path)
        tag = first.headers["etag"]
        same = client.get(path, headers={"If-None-Match": tag})
        assert (same.status_code, same.content, same.headers["etag"]) == (304, b"", tag)

        def look() -> None:
            with site.client() as own:
                answers.append(own.get(path, params={"wait": 25}, headers={"If-None-Match": tag}))

        waiting = threading.Thread(target=look)
        waiting.start()
        comment(client, 1, f"@autogate r+ {sha(7)}")
        wait_for(lambda: answers, "the look to end")
        waiting.join()
    assert answers[0].status_code == 200
    # whatever changed first: the approval alone, or what came of it as well
    assert answers[0].headers["etag"] != tag
    assert answers[0].content != first.content


def test_a_process_that_stands_by_answers_and_takes_events(site: BotSite) -> None:
    site.tell(site.seen("fix-typo", 7))
    site.desk.is_leader = False
    with site.client() as client:
        assert queue(client).total == 1
        tag = client.get(f"{SHOP}/queue").headers["etag"]
        assert client.get(f"{SHOP}/queue", headers={"If-None-Match": tag}).status_code == 304
        assert comment(client, 1, "@autogate ping").answers
