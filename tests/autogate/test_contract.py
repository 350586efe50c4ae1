"""The report on the wire: what is signed is believed, and nothing else; the page on it is right."""

import json
import re
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from autogate import contract
from autogate.contract import (
    MAX_AGE_SECONDS,
    Cause,
    Event,
    FailedTest,
    Finding,
    Report,
    Result,
    Severity,
    SignatureError,
    delivery_id,
    json_schema,
    sign,
    verify,
)

PAGE = (Path(__file__).parents[2] / "docs" / "reporting.md").read_text()
NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
AT = int(NOW.timestamp())


def example() -> dict[str, Any]:
    found = re.search(r"```json\n(.*?)```", PAGE, re.DOTALL)
    assert found
    document: dict[str, Any] = json.loads(found[1])
    return document


@given(secret=st.text(min_size=1), body=st.binary(), age=st.integers(-MAX_AGE_SECONDS, MAX_AGE_SECONDS))
def test_what_is_signed_is_believed(secret: str, body: bytes, age: int) -> None:
    verify(secret, str(AT - age), sign(secret, AT - age, body), body, NOW)


@given(body=st.binary(min_size=1), place=st.integers(0), flip=st.integers(1, 255))
def test_a_body_that_was_changed_is_refused(body: bytes, place: int, flip: int) -> None:
    signature = sign("secret", AT, body)
    place %= len(body)
    forged = body[:place] + bytes([body[place] ^ flip]) + body[place + 1 :]
    with pytest.raises(SignatureError, match="same secret"):
        verify("secret", str(AT), signature, forged, NOW)


@pytest.mark.parametrize(
    ("timestamp", "signature", "complaint"),
    [
        (str(AT), sign("another", AT, b"{}"), "same secret"),
        (str(AT + 1), sign("secret", AT, b"{}"), "same secret"),
        (str(AT), "", "same secret"),
        (str(AT), "sha256=é", "same secret"),
        (str(AT), sign("secret", AT, b"{}").removeprefix("sha256="), "same secret"),
        (str(AT), sign("secret", AT, b"{}").upper(), "same secret"),
        (str(AT - 301), sign("secret", AT - 301, b"{}"), "clocks"),
        (str(AT + 301), sign("secret", AT + 301, b"{}"), "clocks"),
        ("", sign("secret", AT, b"{}"), "missing"),
        ("-1", sign("secret", -1, b"{}"), "not a number"),
        ("1e9", sign("secret", 10**9, b"{}"), "not a number"),
        ("٣", sign("secret", 3, b"{}"), "not a number"),
        ("9" * 13, sign("secret", int("9" * 13), b"{}"), "not a number"),
    ],
)
def test_a_bad_signature_or_timestamp_is_refused(timestamp: str, signature: str, complaint: str) -> None:
    with pytest.raises(SignatureError, match=complaint):
        verify("secret", timestamp, signature, b"{}", NOW)


def test_the_worked_example_of_the_page() -> None:
    found = re.search(
        r"the secret `(.*?)`, the timestamp `(\d+)`.*?\n`(.*?)` as body.*?\n(sha256=\w{64})", PAGE, re.DOTALL
    )
    assert found
    secret, timestamp, body, signature = found.groups()
    assert sign(secret, int(timestamp), body.encode()) == signature
    verify(secret, timestamp, signature, body.encode(), datetime.fromtimestamp(int(timestamp), UTC))
    assert f"the {len(body)} bytes" in PAGE


def test_the_report_of_the_page() -> None:
    document = example()
    report = Report.model_validate(document, strict=False)
    assert json.loads(report.to_body()) == document
    assert report.delivery == delivery_id("https://ci.example/", Event.FINISHED, 42)
    jsonschema.validate(document, json_schema())
    assert set(document) == set(Report.model_fields), "the example shows every field"


@pytest.mark.parametrize("model", [Report, contract.Build, Finding, FailedTest])
def test_the_page_names_every_field(model: type[contract.WireModel]) -> None:
    assert [name for name in model.model_fields if f"`{name}`" not in PAGE] == []


@pytest.mark.parametrize("words", [Event, Result, Cause, Severity])
def test_the_page_names_every_word(words: type[Event | Result | Cause | Severity]) -> None:
    assert [word.value for word in words if f"`{word.value}`" not in PAGE] == []


def test_the_page_names_every_header_and_limit() -> None:
    for header in (contract.TIMESTAMP_HEADER, contract.SIGNATURE_HEADER, contract.DELIVERY_HEADER):
        assert f"`{header}`" in PAGE
    limits = (
        contract.MAX_BODY_BYTES,
        contract.MAX_FINDINGS,
        contract.MAX_FAILED_TESTS,
        contract.MAX_EXCERPT_CHARACTERS,
        contract.MAX_AGE_SECONDS,
    )
    for limit in limits:
        assert re.search(rf"\b{limit}\b", PAGE), limit


@pytest.mark.parametrize(
    "change",
    [
        {"version": 2},
        {"revision": "0123456"},
        {"revision": "HEAD"},
        {"kind": "dance"},
        {"event": "ended"},
        {"occurred_at": "2026-01-31T12:00:09"},
        {"findings": [{"path": "a", "line": 0, "symbol": "x", "severity": "error", "text": ""}] * 1001},
        {"findings_total": -1},
        {"unknown": 1},
        {"failed_tests": [{"name": "x", "excerpt": "a" * 4001}]},
    ],
)
def test_what_does_not_keep_the_contract_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Report.model_validate_json(json.dumps(example() | change))


def test_delivery_ids_differ_by_master_event_and_number() -> None:
    ids = {
        delivery_id(master, event, number)
        for master in ("https://a/", "https://b/")
        for event in Event
        for number in range(1, 50)
    }
    assert len(ids) == 2 * len(Event) * 49
    assert delivery_id("https://a/", Event.STARTED, 1) == uuid.uuid5(uuid.NAMESPACE_URL, "https://a/#started/1")


@given(
    st.builds(
        Finding,
        path=st.text(min_size=1),
        line=st.integers(0, 10**6),
        column=st.integers(0, 10**4),
        symbol=st.text(min_size=1),
        severity=st.sampled_from(Severity),
        text=st.text(),
    )
)
def test_a_finding_survives_buildbot(finding: Finding) -> None:
    assert Finding.from_test_result(finding.to_test_result()) == finding


@given(st.builds(FailedTest, name=st.text(min_size=1), path=st.text(), line=st.integers(0), excerpt=st.text()))
def test_a_failed_test_survives_buildbot(test: FailedTest) -> None:
    assert FailedTest.from_test_result(test.to_test_result()) == test


@pytest.mark.parametrize("value", ["", "[]", "null", "{}", '{"severity": "loud", "text": "x"}', '{"path": "b"}', "é"])
def test_a_foreign_test_result_is_no_finding(value: str) -> None:
    row = {"value": value, "test_name": "x", "test_code_path": "a.py", "line": 1}
    with pytest.raises(ValueError, match=r".+"):
        Finding.from_test_result(row)


def test_a_clock_that_is_off_is_named() -> None:
    with pytest.raises(SignatureError, match="3600 s off"):
        verify("secret", str(AT), sign("secret", AT, b""), b"", NOW + timedelta(hours=1))
