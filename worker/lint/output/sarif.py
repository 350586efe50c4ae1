"""SARIF 2.1.0 (https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html), as GitHub's code scanning takes it.

https://docs.github.com/en/code-security/reference/code-scanning/sarif-files/sarif-support
"""

import json
from importlib.metadata import version
from urllib.parse import quote

from worker.lint.model import Finding, Message, Outcome, Severity, Trouble

from .annotations import fingerprints, low_scores
from .columns import columns
from .visible import visible
from .words import left_out, summary, trouble

SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
ROOT = "%SRCROOT%"
LEVELS = {Severity.FATAL: "error", Severity.ERROR: "error", Severity.WARNING: "warning"}

Json = dict[str, object]


def render(outcome: Outcome) -> str:
    """Return a log with one run: a result a finding, and what could not be judged as the tool's notifications."""
    findings = [*low_scores(outcome), *outcome.findings]
    rules: dict[str, Message] = {}
    for finding in findings:
        rules.setdefault(finding.message.symbol, finding.message)
    indices = {symbol: index for index, symbol in enumerate(rules)}
    run: Json = {
        "tool": {
            "driver": {
                "name": "autogate-lint",
                "version": version("autogate"),
                "rules": [_rule(message) for message in rules.values()],
            }
        },
        "originalUriBaseIds": {ROOT: {"description": {"text": "The root of the repository."}}},
        "columnKind": "utf16CodeUnits",
        "invocations": [_invocation(outcome)],
        "results": [
            _result(finding, indices[finding.message.symbol], fingerprint)
            for finding, fingerprint in zip(findings, fingerprints(findings), strict=True)
        ],
    }
    return json.dumps({"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}, indent=1) + "\n"


def _rule(message: Message) -> Json:
    symbol = visible(message.symbol)
    explained = {
        "pylint": f"pylint --help-msg={symbol} explains it.",
        "ruff": f"ruff rule {symbol} explains it.",
    }.get(message.linter, f"{symbol} is a finding of Autogate's own; see docs/lint.md.")
    return {
        "id": symbol,
        "shortDescription": {"text": f"{symbol}, of {message.linter}"},
        "fullDescription": {"text": explained},
        "help": {"text": explained},
        "defaultConfiguration": {"level": _level(message)},
        "properties": {"tags": [message.linter, str(message.severity)]},
    }


def _result(finding: Finding, rule: int, fingerprint: str) -> Json:
    message = finding.message
    place: Json = {"physicalLocation": {**_location(message.path), "region": _region(finding)}}
    if message.scope:
        place["logicalLocations"] = [{"fullyQualifiedName": visible(message.scope)}]
    return {
        "ruleId": visible(message.symbol),
        "ruleIndex": rule,
        "level": _level(message),
        "message": _message(message.text),
        "locations": [place],
        # the name that GitHub knows
        "partialFingerprints": {"primaryLocationLineHash": fingerprint},
        "properties": {"fails": finding.fails, "dependent": finding.dependent},
    }


def _region(finding: Finding) -> Json:
    """Return the lines, and the columns in code units of UTF-16, where the line of code is known."""
    message = finding.message
    region: Json = {"startLine": message.line}
    if message.end_line is not None and message.end_line > message.line:
        region["endLine"] = message.end_line
    if finding.source and not message.whole:
        start, end = columns(finding)
        region["startColumn"] = _code_units(finding.source, start) + 1
        if end is not None and end >= start:
            region["endColumn"] = _code_units(finding.source, end) + 1
    return region


def _code_units(source: str, characters: int) -> int:
    return characters + sum(character > "\uffff" for character in source[:characters])


def _invocation(outcome: Outcome) -> Json:
    notifications = [_trouble(each) for each in outcome.troubles]
    notifications += [
        {"level": "warning", "message": _message(sentence)} for sentence in [*left_out(outcome), *outcome.notes]
    ]
    return {
        "executionSuccessful": not outcome.troubles,
        "exitCode": outcome.exit_code,
        "exitCodeDescription": summary(outcome),
        "toolExecutionNotifications": notifications,
    }


def _trouble(of: Trouble) -> Json:
    text = f"{of.path} {trouble(of)}"
    return {"level": "error", "message": _message(text), "locations": [{"physicalLocation": _location(of.path)}]}


def _location(path: str) -> Json:
    return {"artifactLocation": {"uri": quote(path, errors="surrogateescape"), "uriBaseId": ROOT}}


def _message(text: str) -> Json:
    # "[words](address)" would be a link
    return {"text": visible(text, lines=True).replace("](", "] (")}


def _level(message: Message) -> str:
    return LEVELS.get(message.severity, "note")
