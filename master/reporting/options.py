"""What can be configured about a reporter, and what is wrong with it: no Buildbot."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, get_args
from urllib.parse import urlsplit

from autogate.contract import Report

from .backoff import Pace
from .wire import PROTOCOLS, Protocol

KINDS: tuple[str, ...] = get_args(Report.model_fields["kind"].annotation)

Secret = Any
"""Text, or something that Buildbot renders to text."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """How a reporter works; `AutogateReporter` explains each."""

    url: str
    secret: Secret
    builders: Mapping[str, Sequence[str]]
    secrets: Mapping[str, Secret] = field(default_factory=dict)
    protocol: Protocol = "autogate"
    master: str | None = None
    timeout: float = 30
    concurrency: int = 4
    pace: Pace = field(default_factory=Pace)
    reconcile_interval: float = 180
    keep_days: float = 14
    warnings_pass: bool = True

    def secret_of(self, repository: str | None) -> Secret:
        """Return the secret that a repository's reports are signed with."""
        return self.secrets.get(repository or "", self.secret)

    def faults(self) -> list[str]:
        """Return what is wrong, each with what to write instead."""
        found = url_faults(self.url)
        if not self.secret:
            found.append("secret is empty; give master and bot the same one")
        found += [
            f"secrets[{name!r}] is empty; give master and bot the same one, or leave it out"
            for name, secret in self.secrets.items()
            if not secret
        ]
        if self.protocol not in PROTOCOLS:
            found.append(f"protocol must be one of {', '.join(PROTOCOLS)}, not {self.protocol!r}")
        for builder, subject in self.builders.items():
            if isinstance(subject, str) or len(subject) != 2 or subject[1] not in KINDS:  # noqa: PLR2004
                found.append(f"builders[{builder!r}] must be (repository, kind), kind one of {', '.join(KINDS)}")
        found += [
            f"{name} must be greater than 0, not {getattr(self, name)}"
            for name in ("timeout", "concurrency", "reconcile_interval", "keep_days")
            if getattr(self, name) <= 0
        ]
        return found


def url_faults(url: str) -> list[str]:
    """Return what is wrong with a receiver's address, without repeating a password in it."""
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018  (raises when it is none)
    except ValueError:
        return ["url is no address that can be understood, such as http://127.0.0.1:8000/results"]
    if parts.username is not None or parts.password is not None:
        return ["url must not contain a user or a password: the secret signs reports"]
    if parts.scheme not in {"http", "https"} or not parts.hostname or not url.isascii():
        return [f"url must be an http or https address, such as http://127.0.0.1:8000/results, not {url!r}"]
    return []
