"""SARIF, as its schema and GitHub's code scanning want it."""

import json
from dataclasses import replace
from typing import Any
from urllib.parse import unquote_to_bytes

import jsonschema
import pytest
from hypothesis import given

from tests.support.outcomes import ALL, OUTCOMES, PATIENT, message
from worker.lint.model import Finding, Message, Outcome, Severity, Side, Trouble
from worker.lint.output import render


def closed(required: dict[str, object], optional: dict[str, object] | None = None) -> dict[str, object]:
    """Return the schema of an object that has these properties and no others."""
    properties = {**required, **(optional or {})}
    return {"type": "object", "properties": properties, "required": list(required), "additionalProperties": False}


def array(items: object) -> dict[str, object]:
    return {"type": "array", "items": items}


TEXT = closed({"text": {"type": "string", "minLength": 1}})
PLACE = {"type": "integer", "minimum": 1}
LEVEL = {"enum": ["error", "warning", "note"]}
ARTIFACT = closed(
    {
        "uri": {"type": "string", "pattern": r"^(?!/)([A-Za-z0-9._~/-]|%[0-9A-F]{2})*$"},
        "uriBaseId": {"const": "%SRCROOT%"},
    }
)
RULE = closed(
    {
        "id": {"type": "string"},
        "shortDescription": TEXT,
        "fullDescription": TEXT,
        "help": TEXT,
        "defaultConfiguration": closed({"level": LEVEL}),
        "properties": closed({"tags": array({"type": "string"})}),
    }
)
REGION = closed({"startLine": PLACE}, {"startColumn": PLACE, "endLine": PLACE, "endColumn": PLACE})
RESULT = closed(
    {
        "ruleId": {"type": "string"},
        "ruleIndex": {"type": "integer", "minimum": 0},
        "level": LEVEL,
        "message": closed({"text": {"type": "string"}}),
        "locations": {
            **array(
                closed(
                    {"physicalLocation": closed({"artifactLocation": ARTIFACT, "region": REGION})},
                    {"logicalLocations": array(closed({"fullyQualifiedName": {"type": "string"}}))},
                )
            ),
            "minItems": 1,
            "maxItems": 1,
        },
        "partialFingerprints": closed(
            {"primaryLocationLineHash": {"type": "string", "pattern": r"^[0-9a-f]{32}:\d+$"}}
        ),
        "properties": closed({"fails": {"type": "boolean"}, "dependent": {"type": "boolean"}}),
    }
)
NOTIFICATION = closed(
    {"level": LEVEL, "message": closed({"text": {"type": "string"}})},
    {"locations": array(closed({"physicalLocation": closed({"artifactLocation": ARTIFACT})}))},
)
INVOCATION = closed(
    {
        "executionSuccessful": {"type": "boolean"},
        "exitCode": {"enum": [0, 1, 3]},
        "exitCodeDescription": {"type": "string"},
        "toolExecutionNotifications": array(NOTIFICATION),
    }
)
DRIVER = closed({"name": {"const": "autogate-lint"}, "version": {"type": "string"}, "rules": array(RULE)})
RUN = closed(
    {
        "tool": closed({"driver": DRIVER}),
        "originalUriBaseIds": closed({"%SRCROOT%": closed({"description": TEXT})}),
        "columnKind": {"const": "utf16CodeUnits"},
        "invocations": array(INVOCATION),
        "results": array(RESULT),
    }
)
# What the output has of the standard's properties, by their names and types there, with those that GitHub requires
# (https://docs.github.com/en/code-security/reference/code-scanning/sarif-files/sarif-support).
VALIDATOR = jsonschema.Draft202012Validator(
    closed(
        {
            "$schema": {"type": "string"},
            "version": {"const": "2.1.0"},
            "runs": {**array(RUN), "minItems": 1, "maxItems": 1},
        }
    )
)


def run(outcome: Outcome) -> dict[str, Any]:
    log = json.loads(render("sarif", outcome))
    VALIDATOR.validate(log)
    (only,) = log["runs"]
    assert isinstance(only, dict)
    return only


def results(*findings: Finding) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = run(Outcome("introduced", "HEAD", findings))["results"]
    return found


def region(finding: Finding) -> dict[str, int]:
    (result,) = results(finding)
    place: dict[str, int] = result["locations"][0]["physicalLocation"]["region"]
    return place


def fingerprints(*findings: Finding) -> list[str]:
    return [result["partialFingerprints"]["primaryLocationLineHash"] for result in results(*findings)]


@PATIENT
@given(OUTCOMES)
def test_any_outcome_makes_a_log_as_the_standard_and_github_want_it(outcome: Outcome) -> None:
    only = run(outcome)
    rules = [rule["id"] for rule in only["tool"]["driver"]["rules"]]
    for result in only["results"]:
        assert rules[result["ruleIndex"]] == result["ruleId"]
        place = result["locations"][0]["physicalLocation"]["region"]
        if place.get("endLine", place["startLine"]) == place["startLine"] and "endColumn" in place:
            assert place["startColumn"] <= place["endColumn"]
    known = [result["partialFingerprints"]["primaryLocationLineHash"] for result in only["results"]]
    assert len(set(known)) == len(known)


def test_findings_become_results_and_low_scores_too() -> None:
    only = run(ALL)
    assert [(each["ruleId"], each["level"], each["properties"]) for each in only["results"]] == [
        ("score-below-limit", "error", {"fails": True, "dependent": False}),
        ("undefined-variable", "error", {"fails": True, "dependent": False}),
        ("unused-import", "warning", {"fails": False, "dependent": False}),
        ("no-member", "error", {"fails": True, "dependent": True}),
        ("new-suppression", "warning", {"fails": True, "dependent": False}),
    ]
    undefined = only["results"][1]
    assert undefined["message"] == {"text": "Undefined variable 'totl'"}
    assert undefined["locations"] == [
        {
            "physicalLocation": {
                "artifactLocation": {"uri": "shop/cart.py", "uriBaseId": "%SRCROOT%"},
                "region": {"startLine": 12, "startColumn": 12, "endColumn": 16},
            },
            "logicalLocations": [{"fullyQualifiedName": "Cart.total"}],
        }
    ]


def test_a_rule_stands_once_and_says_where_it_is_explained() -> None:
    findings = [Finding(message(line=line)) for line in (1, 2)]
    ruff = Finding(message(symbol="F821", linter="ruff", severity=Severity.WARNING))
    rules = run(Outcome("introduced", "HEAD", (*findings, ruff)))["tool"]["driver"]["rules"]
    assert [(rule["id"], rule["help"]["text"], rule["properties"]["tags"]) for rule in rules] == [
        ("undefined-variable", "pylint --help-msg=undefined-variable explains it.", ["pylint", "error"]),
        ("F821", "ruff rule F821 explains it.", ["ruff", "warning"]),
    ]


def test_what_could_not_be_judged_is_told_as_the_tools_own_trouble() -> None:
    (invocation,) = run(ALL)["invocations"]
    assert not invocation["executionSuccessful"]
    assert invocation["exitCode"] == 3
    told = [(each["level"], each["message"]["text"]) for each in invocation["toolExecutionNotifications"]]
    assert told[0] == (
        "error",
        "shop/deep.py could not be judged: pylint took longer than 120 s; --file-time gives it more",
    )
    assert told[1] == ("error", "shop/deep.py could not be judged before the change: pylint was killed")
    assert told[2][1].startswith("12 files that use what changed were not looked at, for time: ")
    assert told[3] == ("warning", "pylint's configuration was read from the base.")


def test_a_change_that_fails_was_executed_successfully() -> None:
    (invocation,) = run(Outcome("introduced", "HEAD", (Finding(message()),)))["invocations"]
    assert invocation["executionSuccessful"]
    assert invocation["exitCode"] == 1


def test_columns_count_code_units_of_utf_16() -> None:
    source = "x = '𝒳ä' + totl"
    finding = Finding(message(column=11, end=15, linter="ruff"), source)
    place = region(finding)
    units = source.encode("utf-16-le")
    assert units[2 * (place["startColumn"] - 1) : 2 * (place["endColumn"] - 1)].decode("utf-16-le") == "totl"


def test_a_finding_over_several_lines_ends_on_its_last() -> None:
    place = Message("a.py", 3, 4, 9, 2, "s", "W1", Severity.WARNING, "t")
    assert region(Finding(place, "x = [")) == {"startLine": 3, "startColumn": 5, "endLine": 9}


@pytest.mark.parametrize("finding", [Finding(message(whole=True), "import os"), Finding(message(column=3), "")])
def test_a_finding_about_no_line_of_code_has_no_column(finding: Finding) -> None:
    assert region(finding) == {"startLine": 1}


@pytest.mark.parametrize("path", ["shop/a b.py", "ü/%41?#.py", "C:x.py", "\udcff\udc80.py", "a\nb/[c].py", "日本.py"])
def test_any_path_comes_out_as_a_relative_address_of_the_same_bytes(path: str) -> None:
    trouble = Trouble(path, Side.AFTER, "died")
    only = run(Outcome("introduced", "HEAD", (Finding(message(path)),), troubles=(trouble,)))
    for place in (only["results"][0], only["invocations"][0]["toolExecutionNotifications"][0]):
        uri = place["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]
        assert ":" not in uri
        assert unquote_to_bytes(uri) == path.encode("utf-8", "surrogateescape")


def test_a_message_holds_no_link_and_no_control_character() -> None:
    (result,) = results(Finding(message(text="see [here](https://evil.example.org)\x1b\nand \udcff")))
    assert result["message"]["text"] == "see [here] (https://evil.example.org)\\x1b\nand \\xff"


def test_a_fingerprint_stays_when_the_line_moves_is_indented_or_counts_on() -> None:
    here = Finding(message(line=3, column=4, text="Too many lines (1005/1000)"), "x = y")
    there = Finding(message(line=90, column=8, text="Too many lines (1006/1000)"), "    x  =  y")
    assert fingerprints(here) == fingerprints(there)


def test_a_fingerprint_is_another_where_path_rule_object_line_or_place_in_the_file_is() -> None:
    one = Finding(message(), "x = y")
    others = [
        Finding(message("shop/till.py"), "x = y"),
        Finding(message(symbol="no-member"), "x = y"),
        Finding(message(scope="Cart"), "x = y"),
        Finding(message(text="Undefined variable 'total'"), "x = y"),
        Finding(message(), "x = z"),
        replace(one, message=message(line=2)),
    ]
    assert len(set(fingerprints(one, *others))) == 1 + len(others)
