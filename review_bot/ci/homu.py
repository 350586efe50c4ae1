"""Packets as Buildbot 0.8 posts them to Homu: from the form to events, no I/O, no clock."""

import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from http import HTTPStatus
from typing import Annotated, Any, Literal, TypeVar
from urllib.parse import parse_qs, quote

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StrictInt, TypeAdapter, ValidationError

from autogate import contract, names
from autogate.contract import RESULTS, Cause, Result, Sha
from autogate.judging import Refusal, Secrets, faults, shown
from autogate.names import Kind
from autogate.settings import Repository, Settings
from review_bot.domain.events import PASSING, BuildStarted, VerdictReached
from review_bot.domain.model import Verdict

CONTENT_TYPE = "application/x-www-form-urlencoded"

_MAX_FIELDS = 16
_LIST: TypeAdapter[list[Any]] = TypeAdapter(list[Any])
_SHA: TypeAdapter[str] = TypeAdapter(Sha)
_NUMBER: TypeAdapter[int] = TypeAdapter(Annotated[StrictInt, Field(ge=0, lt=2**31)])

T = TypeVar("T")


class _Read(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


def _only_texts(value: object) -> list[str]:
    return [part for part in value if isinstance(part, str)] if isinstance(value, list) else []


_Texts = Annotated[tuple[str, ...], BeforeValidator(_only_texts)]


class _Step(_Read):
    name: str = ""
    text: _Texts = ()


class _Build(_Read):
    # 0.8 leaves out whatever is empty or 0, a success's `results` among it
    builderName: str  # noqa: N815  (Buildbot's name)
    properties: tuple[tuple[str, Any, Any], ...] = ()
    text: _Texts = ()
    results: Annotated[StrictInt, Field(ge=0, lt=len(RESULTS))] | None = None
    steps: tuple[_Step, ...] = ()


class _Payload(_Read):
    build: _Build


class _Packet(_Read):
    event: Literal["buildStarted", "buildFinished"]
    project: str = ""
    payload: _Payload


class _Event(_Read):
    event: str


@dataclass(frozen=True)
class Told:
    """What one packet says.

    Attributes:
        repository: Whose event it is.
        key: The same in every repeat.
        event: What happened.
    """

    repository: str
    key: str
    event: BuildStarted | VerdictReached


@dataclass(frozen=True)
class Form:
    """A form whose secret somebody knows; its packets are not parsed yet.

    Attributes:
        secret: The secret, which may be another repository's.
        packets: JSON.
    """

    secret: str
    packets: bytes


def open_form(body: bytes, secrets: Secrets) -> Form:
    """Return a form's packets, unread, after its secret was found good.

    Args:
        body: As received.
        secrets: What Buildbot and bot share.

    Raises:
        Refusal: the secret is wrong (401), or there are no packets (400).
    """
    try:
        # Latin-1 brings every byte through
        fields = parse_qs(
            body.decode("latin-1"), keep_blank_values=True, max_num_fields=_MAX_FIELDS, encoding="latin-1"
        )
    except ValueError:
        raise Refusal(HTTPStatus.BAD_REQUEST, "not the form that Buildbot posts to Homu") from None
    given = fields.get("secret", [])
    sent = "".join(given).encode("latin-1")
    known = [secret for secret in secrets.known if hmac.compare_digest(secret.encode(), sent)]
    if len(given) != 1 or not known:
        raise Refusal(HTTPStatus.UNAUTHORIZED, "secret does not match: do both sides have the same secret?")
    match fields.get("packets", []):
        case [packets]:
            return Form(known[0], packets.encode("latin-1"))
    raise Refusal(HTTPStatus.BAD_REQUEST, "the form has no packets, or twice")


def read(form: Form, settings: Settings, secrets: Secrets, now: datetime) -> tuple[list[Told], list[str]]:
    """Return what a form's packets say, and why others of them are skipped.

    One bad packet must not hold up the others: Buildbot 0.8 sends all of them again until all are taken.

    Args:
        form: As `open_form` returned it.
        settings: The configuration.
        secrets: What Buildbot and bot share.
        now: When the form came.

    Raises:
        Refusal: the packets are no JSON list (400).
    """
    try:
        packets = _LIST.validate_json(form.packets)
    except ValidationError as error:
        raise Refusal(HTTPStatus.BAD_REQUEST, f"packets is no JSON list: {faults(error)}") from None
    told, skipped = [], []
    for packet in packets:
        try:
            found = _told(packet, form.secret, settings, secrets, now)
        except ValidationError as error:
            skipped.append(f"no packet of a build: {faults(error)}")
        except (Refusal, _SkippedError) as reason:
            skipped.append(str(reason))
        else:
            if found:
                told.append(found)
    return told, skipped


class _SkippedError(Exception):
    """A packet cannot be used; the message says why."""


def _told(packet: object, secret: str, settings: Settings, secrets: Secrets, now: datetime) -> Told | None:
    # 0.8 posts everything that happens: only these two are looked at
    if _Event.model_validate(packet).event not in {"buildStarted", "buildFinished"}:
        return None
    read_packet = _Packet.model_validate(packet)
    build = read_packet.payload.build
    repository, kind = _subject(build.builderName, settings)
    secrets.check(secret, repository.name)
    properties = {name: value for name, value, _source in build.properties}
    if kind is Kind.DEPLOY or properties.get("branch", repository.auto) not in {repository.auto, repository.try_branch}:
        return None
    revision, number = _checked(_SHA, properties, "revision"), _checked(_NUMBER, properties, "buildnumber")
    identity = (read_packet.project, build.builderName, number, read_packet.event, revision)
    key = f"homu:{sha256(repr(identity).encode()).hexdigest()}"
    url = f"{settings.site.site.base_url}builders/{quote(build.builderName, safe='')}/builds/{number}"
    if read_packet.event == "buildStarted":
        started = BuildStarted(at=now, revision=revision, builder=build.builderName, url=url)
        return Told(repository.name, key, started)
    result, cause = outcome(build.text, build.results)
    if result is Result.RETRY:
        return None
    verdict = Verdict(
        builder=build.builderName,
        kind=kind.value,
        result=result,
        cause=cause,
        summary=_summary(build),
        url=url,
        at=now,
    )
    return Told(repository.name, key, VerdictReached(at=now, revision=revision, verdict=verdict))


def outcome(text: Sequence[str], results: int | None) -> tuple[Result, Cause | None]:
    """Return the result of a finished build, and who is to blame.

    Homu goes by ``text`` first. Here a build passed only when nothing contradicts that, and what cannot be understood
    is nobody's fault.

    Args:
        text: The build's text.
        results: Its number, which 0.8 leaves out when it is 0, a success.
    """
    result = _result(text, None if results is None else RESULTS[results])
    return result, contract.cause(result, None)


def _result(text: Sequence[str], number: Result | None) -> Result:
    if "retry" in text or number is Result.RETRY:
        return Result.RETRY
    if "interrupted" in text:
        return Result.CANCELLED
    if number and number not in PASSING:
        return number
    # the words after the first may be of a step whose failure does not count
    said = _FIRST_WORDS.get(text[0]) if text else None
    return said or number or (Result.SUCCESS if "successful" in text else Result.EXCEPTION)


_FIRST_WORDS = {"failed": Result.FAILURE, "exception": Result.EXCEPTION, "warnings": Result.WARNINGS}


def _subject(builder: str, settings: Settings) -> tuple[Repository, Kind]:
    for repository in settings.repositories:
        for kind in repository.kinds:
            if builder == names.builder(repository.name, kind):
                return repository, kind
    raise _SkippedError(f"no builder {shown(builder)} is configured here")


def _checked(kind: TypeAdapter[T], properties: Mapping[str, Any], name: str) -> T:
    try:
        return kind.validate_python(properties.get(name))
    except ValidationError as error:
        raise _SkippedError(f"its property {name} is missing or wrong: {faults(error)}") from None


def _summary(build: _Build) -> str:
    told = " ".join(build.text) or "no text"
    steps = [step.name for step in build.steps if "interrupted" in step.text and step.name]
    return contract.one_line(f"{told} in {', '.join(steps)}" if "interrupted" in build.text and steps else told)
