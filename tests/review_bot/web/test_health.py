"""`/healthz` for whoever looks after the bot, `/metrics` for Prometheus."""

import pytest
from prometheus_client.parser import text_string_to_metric_families

from autogate.botapi import Health
from review_bot.desk import Trouble
from review_bot.metrics import Metrics
from review_bot.store.errors import StoreError
from review_bot.web.health import STUCK_SECONDS
from tests.review_bot.web.test_api import comment
from tests.support.botsite import BotSite, sha


def health(site: BotSite, who: str | None, status: int) -> Health:
    with site.client(who) as client:
        response = client.get("../../healthz")
    assert response.status_code == status
    return Health.model_validate_json(response.content)


def test_a_leader_that_works_is_healthy_and_names_repositories_to_those_with_a_token(site: BotSite) -> None:
    now = site.desk.now()
    site.desk.trouble = [Trouble("push_candidate", 1, 2, "no route to host: is it up?", now, now)]
    nobody, ada = health(site, None, 200), health(site, "ada", 200)
    assert (nobody.status, nobody.role, nobody.database, nobody.repositories) == ("ok", "leader", True, ())
    assert [one.name for one in ada.repositories] == ["library", "shop"]
    assert ada.repositories[1].failing == ("push_candidate: no route to host: is it up?",)
    assert ada.repositories[1].looked_at is not None
    with site.client(None) as client:
        assert "shop" not in client.get("../../healthz").text


def test_events_that_wait_are_counted(site: BotSite) -> None:
    site.desk.slow = True
    site.tell(site.seen("fix-typo", 7))
    told = health(site, "ada", 200)
    assert [one.events_waiting for one in told.repositories] == [0, 1]
    assert told.behind_seconds >= 0


def test_a_process_that_stands_by_is_healthy(site: BotSite) -> None:
    site.desk.is_leader = False
    assert health(site, None, 200).role == "standby"


def test_a_leader_that_does_not_come_round_is_not_healthy(site: BotSite) -> None:
    site.desk.stuck = STUCK_SECONDS + 1
    assert health(site, None, 503).status == "stuck"


def test_without_a_database_the_bot_is_not_healthy(site: BotSite, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(*_: object) -> None:
        raise StoreError("the database /srv/secret/place fails")

    monkeypatch.setattr(site.store, "oldest_unprocessed_age", fail)
    told = health(site, "ada", 503)
    assert (told.status, told.database) == ("no_database", False)
    assert "/srv/secret" not in told.model_dump_json()


def numbers(text: str) -> dict[str, float]:
    return {
        sample.name + "".join(f" {key}={value}" for key, value in sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_the_numbers_say_what_there_is_to_do(site: BotSite) -> None:
    site.tell(*(site.seen(topic, place) for place, topic in enumerate(["a", "b", "c"], 7)))
    with site.client() as client:
        for number in (1, 2, 3):
            comment(client, number, f"@autogate r+ {sha(6 + number)}")
        text = client.get("../../metrics").raise_for_status().text
        assert client.get("../../metrics").headers["content-type"].startswith("text/plain; version=0.0.4")
    found = numbers(text)
    assert found["autogate_queued_pull_requests repository=shop target=main"] == 2
    assert found["autogate_queued_pull_requests repository=library target=main"] == 0
    assert found["autogate_live_attempts kind=auto repository=shop"] == 1
    assert found["autogate_live_attempts kind=try repository=shop"] == 0
    assert found["autogate_lease_held"] == 1
    with site.client(None) as client:
        assert client.get("../../metrics").status_code == 401


def test_the_numbers_count_what_the_engine_tells() -> None:
    metrics, others = Metrics(), Metrics()
    metrics.observe_decision("comment_read", 0.004)
    metrics.observe_decision("comment_read", 0.2)
    metrics.effect_done("land")
    metrics.effect_failed("land")
    metrics.effect_failed("land")
    metrics.attempt_ended("failed")
    metrics.landed(400)
    metrics.show_lease(held=False)
    metrics.show_work({("shop", "main"): 3}, {("shop", "auto"): 1})
    found = numbers(metrics.exposition().decode())
    assert found["autogate_events_processed_total kind=comment_read"] == 2
    assert found["autogate_decision_seconds_bucket le=0.005"] == 1
    assert found["autogate_decision_seconds_count"] == 2
    assert found["autogate_effects_done_total kind=land"] == 1
    assert found["autogate_effects_failed_total kind=land"] == 2
    assert found["autogate_attempts_ended_total reason=failed"] == 1
    assert found["autogate_approval_to_landing_seconds_bucket le=600.0"] == 1
    assert found["autogate_approval_to_landing_seconds_bucket le=300.0"] == 0
    assert found["autogate_lease_held"] == 0
    metrics.show_work({}, {})
    assert not [name for name in numbers(metrics.exposition().decode()) if "repository=shop" in name]
    assert "autogate_effects_done_total kind=land" not in numbers(others.exposition().decode())
