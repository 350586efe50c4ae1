"""The format for programs that know Autogate: all of an outcome, as docs/lint.md describes it."""

import json
import types
from collections.abc import Mapping
from dataclasses import asdict, fields, is_dataclass
from enum import EnumType
from typing import Any, cast, get_args, get_origin, get_type_hints

from worker.lint.model import Finding, Outcome

from .words import summary

VERSION = 1


def render(outcome: Outcome) -> str:
    """Return an outcome as a JSON object in ASCII, which `load` reads back.

    A byte of a path that is no UTF-8 is a lone surrogate there, as in Python (PEP 383).
    """
    document = {
        "version": VERSION,
        "exit_code": outcome.exit_code,
        "summary": summary(outcome),
        **asdict(outcome),
        "findings": [_flat(finding) for finding in outcome.findings],
    }
    return json.dumps(document, indent=1) + "\n"


def load(text: str) -> Outcome:
    """Return the outcome that `render` wrote; keys that are not known are passed over.

    Raises:
        ValueError: It is no such object, or one of another version; the text says what is wrong and where.
    """
    document = json.loads(text)
    version = document.get("version") if isinstance(document, dict) else None
    if version != VERSION:
        raise ValueError(
            f"this is no output of autogate-lint --format json in version {VERSION}, but has version {version!r}: "
            "use the same release of Autogate on the worker and here"
        )
    findings = document.get("findings", [])
    nested = [_nested(each) for each in findings] if isinstance(findings, list) else findings
    return cast("Outcome", _read(Outcome, {**document, "findings": nested}, "outcome"))


def _flat(finding: Finding) -> dict[str, object]:
    return {**asdict(finding.message), "source": finding.source, "fails": finding.fails, "dependent": finding.dependent}


def _nested(finding: object) -> object:
    return {**finding, "message": finding} if isinstance(finding, dict) else finding


def _read(kind: Any, value: Any, where: str) -> Any:  # noqa: ANN401  (what it returns is of the kind asked for)
    """Return ``value`` as a dataclass, a tuple, an optional value, an enum, or a plain one."""
    if isinstance(kind, types.UnionType):
        return None if value is None else _read(get_args(kind)[0], value, where)
    if get_origin(kind) is tuple and isinstance(value, list):
        item = get_args(kind)[0]
        return tuple(_read(item, each, f"{where}[{index}]") for index, each in enumerate(value))
    if is_dataclass(kind) and isinstance(value, dict):
        return _read_fields(kind, value, where)
    if isinstance(kind, EnumType) and value in list(kind):
        return kind(value)
    if type(value) is kind or (kind is float and type(value) is int):
        return value
    raise ValueError(f"{where} is {value!r:.100}, which is no {getattr(kind, '__name__', kind)}")


def _read_fields(kind: Any, value: Mapping[str, Any], where: str) -> Any:  # noqa: ANN401  (as above)
    hints = get_type_hints(kind)
    known = [field.name for field in fields(kind) if field.name in value]
    try:
        return kind(**{name: _read(hints[name], value[name], f"{where}.{name}") for name in known})
    except TypeError as error:
        raise ValueError(f"{where}: {error}") from None
