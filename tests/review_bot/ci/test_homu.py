"""Homu's packets: those that our own master makes, and those of a Buildbot 0.8."""

import json
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autogate import contract
from autogate.contract import Cause, Event, Result
from autogate.judging import Refusal, Secrets
from master.reporting.homu import form as masters_form
from master.reporting.homu import packets, to_json
from master.reporting.records import BuildRecord, Happening, RequestRecord, Step, Subject
from review_bot.ci import homu
from review_bot.domain.events import BuildStarted, VerdictReached

from .reporting import NOW, SHA, SHARED, TILLS, settings

KNOWN = Secrets(SHARED, {"till": TILLS})
SUBJECT = Subject("https://ci/", "shop", "shop-test", "test")


def form(*told: Any, secret: str = SHARED) -> bytes:
    return urlencode({"packets": json.dumps(told), "secret": secret}).encode()


def read(body: bytes) -> tuple[list[homu.Told], list[str]]:
    return homu.read(homu.open_form(body, KNOWN), settings(), KNOWN, NOW)


def event(body: bytes) -> BuildStarted | VerdictReached | None:
    told, skipped = read(body)
    assert skipped == []
    return told[0].event if told else None


def made_by_our_master(event: Event, result: Result | None, *, warnings_pass: bool = True, built: bool = True) -> bytes:
    number = contract.RESULTS.index(result) if result else None
    steps = (Step("checkout", "ok", Result.SUCCESS), Step("tests", "2 failed", Result.FAILURE))
    build = BuildRecord(
        5,
        9,
        "https://ci/x",
        "w",
        NOW,
        None if number is None else NOW,
        result,
        steps=steps if result is Result.FAILURE else (),
    )
    request = RequestRecord(
        3, 1, "auto", SHA, (build,) if built else (), NOW if event is Event.FINISHED else None, result
    )
    happening = Happening(event, 3 if event is Event.FINISHED else 5, NOW)
    told = packets(request, happening, SUBJECT, warnings_pass=warnings_pass)
    return masters_form(to_json(told), SHARED)


@pytest.mark.parametrize("warnings_pass", [True, False])
@pytest.mark.parametrize("result", [result for result in Result if result is not Result.RETRY])
def test_every_result_of_our_own_master_is_understood(result: Result, warnings_pass: bool) -> None:
    reached = event(made_by_our_master(Event.FINISHED, result, warnings_pass=warnings_pass))
    assert isinstance(reached, VerdictReached)
    verdict = reached.verdict
    assert (reached.revision, verdict.builder, verdict.kind) == (SHA, "shop-test", "test")
    assert (verdict.result, verdict.cause) == (result, contract.cause(result, None))
    assert verdict.url == "http://localhost:8010/builders/shop-test/builds/9"


def test_a_lost_build_of_our_own_master_is_no_verdict() -> None:
    assert event(made_by_our_master(Event.RETRYING, Result.RETRY)) is None


def test_a_start_of_our_own_master_is_understood() -> None:
    started = event(made_by_our_master(Event.STARTED, None))
    assert started == BuildStarted(
        at=NOW, revision=SHA, builder="shop-test", url="http://localhost:8010/builders/shop-test/builds/9"
    )


def test_what_ended_without_a_build_is_told_as_started_and_ended() -> None:
    told, skipped = read(made_by_our_master(Event.FINISHED, Result.SKIPPED, built=False))
    assert [type(one.event) for one in told] == [BuildStarted, VerdictReached]
    assert skipped == []
    assert len({one.key for one in told}) == 2


def old(build: dict[str, Any] | None = None, **packet: Any) -> dict[str, Any]:
    """Return a packet as Buildbot 0.8 makes it: without whatever is empty or 0."""
    made = {
        "builderName": "shop-test",
        "properties": [["revision", SHA, "Build"], ["buildnumber", 7, "Build"], ["slavename", "s", "BuildSlave"]],
        "text": ["build", "successful"],
        "blame": ["ada"],
        "reason": "scheduler",
        "steps": [{"name": "git", "text": ["update"], "isFinished": True}],
        **(build or {}),
    }
    return {
        "id": 4,
        "timestamp": "2026-01-02 03:04:05",
        "project": "Acme",
        "started": "2026-01-02 03:00:00",
        "event": "buildFinished",
        "payload": {"build": {name: value for name, value in made.items() if value not in ([], 0, None, "")}},
        **packet,
    }


@pytest.mark.parametrize(
    ("text", "results", "result", "cause"),
    [
        (["build", "successful"], None, Result.SUCCESS, None),
        (["build", "successful"], 0, Result.SUCCESS, None),
        (["build", "successful", "pylint", "failed"], None, Result.SUCCESS, None),
        ([], 0, Result.EXCEPTION, Cause.INFRASTRUCTURE),  # 0 is left out, and nothing else says that it passed
        (["warnings", "pylint", "failed"], 1, Result.WARNINGS, None),
        (["warnings"], None, Result.WARNINGS, None),
        (["failed", "tests"], 2, Result.FAILURE, Cause.CHANGE),
        (["failed", "tests"], None, Result.FAILURE, Cause.CHANGE),
        (["failed", "tests"], 1, Result.FAILURE, Cause.CHANGE),
        (["build", "successful"], 2, Result.FAILURE, Cause.CHANGE),
        (["failed", "skipped"], 3, Result.SKIPPED, Cause.SUPERSEDED),
        (["exception", "tests"], 4, Result.EXCEPTION, Cause.INFRASTRUCTURE),
        (["exception", "tests"], None, Result.EXCEPTION, Cause.INFRASTRUCTURE),
        (["exception"], 6, Result.CANCELLED, Cause.SUPERSEDED),
        (["failed", "interrupted"], 2, Result.CANCELLED, Cause.SUPERSEDED),
        (["exception", "interrupted"], 4, Result.CANCELLED, Cause.SUPERSEDED),
        (["all", "is", "well"], None, Result.EXCEPTION, Cause.INFRASTRUCTURE),
    ],
)
def test_results_of_buildbot_08(text: list[str], results: int | None, result: Result, cause: Cause | None) -> None:
    reached = event(form(old({"text": text, "results": results})))
    assert isinstance(reached, VerdictReached)
    assert (reached.verdict.result, reached.verdict.cause) == (result, cause)


@pytest.mark.parametrize(
    ("text", "results"), [(["retry"], 5), (["retry"], None), (["retry", "interrupted"], None), (["exception"], 5)]
)
def test_a_build_that_is_made_again_is_no_verdict(text: list[str], results: int | None) -> None:
    assert event(form(old({"text": text, "results": results}))) is None


def test_an_interrupted_build_names_its_steps() -> None:
    steps = [{"name": "git"}, {"name": "tests", "text": ["tests", "interrupted"]}, {"text": ["interrupted"]}]
    reached = event(form(old({"text": ["failed", "interrupted"], "results": 2, "steps": steps})))
    assert isinstance(reached, VerdictReached)
    assert reached.verdict.summary == "failed interrupted in tests"


@pytest.mark.parametrize(
    ("build", "packet", "says"),
    [
        ({"builderName": "shop-dance"}, {}, "no builder 'shop-dance' is configured here"),
        ({"builderName": "till-test"}, {}, "does not stand for the repository 'till'"),
        ({"builderName": None}, {}, "payload.build.builderName: Field required"),
        ({"builderName": ["x"]}, {}, "payload.build.builderName: "),
        ({"properties": []}, {}, "its property revision is missing or wrong"),
        ({"properties": [["revision", "0123", "Build"], ["buildnumber", 1, "B"]]}, {}, "property revision"),
        ({"properties": [["revision", [SHA], "Build"], ["buildnumber", 1, "B"]]}, {}, "property revision"),
        ({"properties": [["revision", SHA, "Build"]]}, {}, "its property buildnumber is missing or wrong"),
        ({"properties": [["revision", SHA, "Build"], ["buildnumber", 2**99, "B"]]}, {}, "property buildnumber"),
        ({"properties": [["revision", SHA, "Build"], ["buildnumber", "../x", "B"]]}, {}, "property buildnumber"),
        ({"properties": [["revision"]]}, {}, "payload.build.properties"),
        ({"properties": [[["revision"], SHA, "Build"]]}, {}, "payload.build.properties"),
        ({"results": 9}, {}, "payload.build.results"),
        ({"results": "0"}, {}, "payload.build.results"),
        ({"results": True}, {}, "payload.build.results"),
        ({"results": 0.5}, {}, "payload.build.results"),
        ({"steps": [3]}, {}, "payload.build.steps"),
        ({}, {"payload": {}}, "payload.build: Field required"),
        ({}, {"payload": [1]}, "payload"),
        ({}, {"event": 3}, "event"),
        ({}, {"project": {"a": 1}}, "project"),
    ],
)
def test_a_bad_packet_is_skipped_with_a_reason_and_holds_up_no_other(
    build: dict[str, Any], packet: dict[str, Any], says: str
) -> None:
    told, skipped = read(form(old(build, **packet), old()))
    assert len(told) == len(skipped) == 1
    assert says in skipped[0]


@pytest.mark.parametrize("packet", [3, None, "x", [], {}])
def test_what_is_no_packet_at_all_is_skipped(packet: object) -> None:
    told, skipped = read(form(packet, old()))
    assert (len(told), len(skipped)) == (1, 1)


@pytest.mark.parametrize(
    ("build", "packet"),
    [
        ({}, {"event": "slaveConnected"}),
        ({}, {"event": "stepFinished", "payload": {"step": {}}}),
        ({"builderName": "shop-deploy"}, {}),
        ({"properties": [["revision", SHA, "B"], ["buildnumber", 1, "B"], ["branch", "main", "B"]]}, {}),
    ],
)
def test_what_no_attempt_waits_for_is_left_alone(build: dict[str, Any], packet: dict[str, Any]) -> None:
    assert read(form(old(build, **packet))) == ([], [])


@pytest.mark.parametrize("branch", ["auto", "try"])
def test_candidates_are_on_either_branch(branch: str) -> None:
    properties = [["revision", SHA, "B"], ["buildnumber", 1, "B"], ["branch", branch, "B"]]
    assert isinstance(event(form(old({"properties": properties}))), VerdictReached)


def test_a_repository_with_a_secret_of_its_own_believes_no_other() -> None:
    told, skipped = read(form(old({"builderName": "till-test"}), old(), secret=TILLS))
    assert [one.repository for one in told] == ["till"]
    assert "does not stand for the repository 'shop'" in skipped[0]


@pytest.mark.parametrize("kind", ["buildStarted", "buildFinished", "slaveConnected"])
@pytest.mark.parametrize("secret", ["nobody's", "", "é", SHARED + "x", SHARED[:-1]])
def test_a_wrong_secret_is_refused_whatever_is_told_and_before_it_is_read(kind: str, secret: str) -> None:
    for body in (form(old(event=kind), secret=secret), urlencode({"packets": "[" * 99_999, "secret": secret}).encode()):
        with pytest.raises(Refusal, match="same secret") as caught:
            homu.open_form(body, KNOWN)
        assert caught.value.status == 401
        assert SHARED not in str(caught.value)


def test_a_secret_may_be_any_text() -> None:
    any_text = "é+&%=ß"
    told, skipped = homu.read(
        homu.open_form(form(old(), secret=any_text), Secrets(any_text)), settings(), Secrets(any_text), NOW
    )
    assert (len(told), skipped) == (1, [])


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 401),
        (b"packets=[]", 401),
        (urlencode({"secret": SHARED}).encode(), 400),
        (urlencode([("packets", "[]"), ("packets", "[]"), ("secret", SHARED)]).encode(), 400),
        (urlencode([("packets", "[]"), ("secret", SHARED), ("secret", SHARED)]).encode(), 401),
        (urlencode([("packets", "[]"), ("secret", SHARED[:3]), ("secret", SHARED[3:])]).encode(), 401),
        (urlencode({"packets": "{}", "secret": SHARED}).encode(), 400),
        (urlencode({"packets": "[" * 9999, "secret": SHARED}).encode(), 400),
        (urlencode({"packets": b"\xff", "secret": SHARED}).encode(), 400),
        (urlencode({"packets": r'["\ud800"]', "secret": SHARED}).encode(), 400),
        (b"a=1&" * 99_999, 400),
    ],
)
def test_what_is_no_form_of_packets_is_refused(body: bytes, status: int) -> None:
    with pytest.raises(Refusal) as caught:
        read(body)
    assert caught.value.status == status


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner, max_size=4),
    max_leaves=12,
)


FIELDS = st.sampled_from(sorted(old()["payload"]["build"]))


@given(st.lists(JSON | st.builds(lambda value, key: old({key: value}), JSON, FIELDS)))
def test_any_packets_are_read_or_skipped(told: list[Any]) -> None:
    found, skipped = read(form(*told))
    assert len(found) + len(skipped) <= len(told)


@given(st.binary(max_size=200))
def test_any_bytes_are_refused(body: bytes) -> None:
    with pytest.raises(Refusal) as caught:
        read(body)
    assert caught.value.status in {400, 401}


def test_repeats_have_one_key_and_whatever_differs_another() -> None:
    def key(*changes: Any, **packet: Any) -> str:
        [told], _ = read(form(old(*changes, **packet)))
        return told.key

    assert key() == key(id=99, timestamp="later")
    number = [["revision", SHA, "B"], ["buildnumber", 8, "B"]]
    revision = [["revision", SHA[::-1], "B"], ["buildnumber", 7, "B"]]
    different = {
        key(),
        key(event="buildStarted"),
        key(project="Other"),
        key({"builderName": "shop-lint"}),
        key({"properties": number}),
        key({"properties": revision}),
    }
    assert len(different) == 6
    assert max(map(len, different)) < 100
