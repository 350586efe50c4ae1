"""What `autogate check` finds out: rows of what is right and what is not, each fault with its cure."""

import asyncio
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Awaitable, Iterable
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path

import httpx

from autogate import ssh
from autogate.git import Git, GitError
from autogate.places import Places
from autogate.secretstore import SecretMissingError, SecretStore
from autogate.settings import Problem, Repository, Settings, SettingsError, load
from autogate.ssh import Role
from autogate.storage import make_private_folder

from . import deploykeys, hostkeys
from .failures import Failure, cure, describe, package

OLDEST_GIT = (2, 38)
"""The first with ``git merge-tree --write-tree``."""

AT_ONCE = 6
"""Repositories asked at the same time: sshd begins to turn new connections away at 10."""

_OTHER_NAMES = ("main", "master", "develop", "trunk")


class Status(StrEnum):
    """How a check came out."""

    OK = "ok"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True)
class Row:
    """One thing that was checked.

    Attributes:
        what: The thing.
        status: How it came out.
        detail: What was found.
        cure: What to do about a failure.
    """

    what: str
    status: Status
    detail: str = ""
    cure: str = ""


@dataclass(frozen=True)
class Scope:
    """What is checked.

    Attributes:
        role: Which deploy keys.
        worker: Whether this is a worker, which needs tools but neither the site's secrets nor the bot.
        timeout: Seconds that a server may take to answer.
    """

    role: Role = Role.READ
    worker: bool = False
    timeout: float = 20


@dataclass
class Progress:
    """How far an examination has come.

    Attributes:
        total: How many slow checks there are; known once the configuration was read.
        done: How many of them are done.
    """

    total: int = 0
    done: int = field(default=0)


async def examine(places: Places, scope: Scope, progress: Progress) -> list[Row]:
    """Check an installation. Nothing is changed but for a folder that is missing in ``places.state``."""
    rows, settings = _configuration(places)
    tools = [_tool(program, scope) for program in ("git", "ssh", "ssh-keygen", "ssh-keyscan", "uv", "python3")]
    rows += [*tools, _state(places)]
    if settings is None:
        return rows
    if not scope.worker:
        rows += _secrets(settings, places)
    with tempfile.TemporaryDirectory(prefix="autogate-check-") as folder:
        # a state folder of its own: the shared connections of the real one would hide a key that no longer works,
        # and the keys of the two roles must not take each other's place there
        apart = replace(places, state=Path(folder))
        try:
            ssh.install(settings.repositories, apart, scope.role, sharing=False)
        except OSError as error:
            rows.append(Row("private copies of the deploy keys", Status.FAILED, describe(error), cure(error)))
            return rows
        git = Git(ssh.command(apart, scope.role), scope.timeout)
        gate = asyncio.Semaphore(AT_ONCE)
        usable = all(tool.status is Status.OK for tool in tools[:3])
        slow: list[Awaitable[list[Row]]] = [
            _repository(repository, places, scope, git if usable else None, gate)
            for repository in settings.repositories
        ]
        if not scope.worker:
            slow += [_bot(settings, scope), _web(settings, scope)]
        progress.total = len(slow)
        for found in await asyncio.gather(*(_counted(check, progress) for check in slow)):
            rows += found
    return rows


def healthy(rows: Iterable[Row]) -> bool:
    """Tell whether nothing failed."""
    return all(row.status is not Status.FAILED for row in rows)


def git_version(output: str) -> tuple[int, ...]:
    """Return the numbers in what ``git --version`` printed; none when there are none."""
    found = re.search(r"\d+(?:\.\d+)+", output)
    return tuple(int(number) for number in found.group().split(".")) if found else ()


async def _counted(check: Awaitable[list[Row]], progress: Progress) -> list[Row]:
    rows = await check
    progress.done += 1
    return rows


def _configuration(places: Places) -> tuple[list[Row], Settings | None]:
    try:
        settings = load(places)
    except SettingsError as error:
        return [_problem(problem, places) for problem in error.problems], None
    rows = [_problem(problem, places) for problem in settings.problems]
    count = len(settings.repositories)
    if not rows:
        detail = f"{places.config}: {count} {'repository' if count == 1 else 'repositories'}"
        rows.append(Row("configuration", Status.OK, detail))
    if not count and not settings.problems:
        rows.append(
            Row(
                "repositories",
                Status.FAILED,
                f"there is no file in {places.repositories}",
                "write one for the first repository; `autogate schema repository` says what may stand in it",
            )
        )
    return rows, settings


def _problem(problem: Problem, places: Places) -> Row:
    # the message says what to write instead, after what is wrong
    message = f"{problem.key}: {problem.message}" if problem.key else problem.message
    try:
        file = problem.file.relative_to(places.config)
    except ValueError:
        file = problem.file
    return Row(f"configuration: {file}", Status.FAILED, message, f"edit {problem.file}")


def _secrets(settings: Settings, places: Places) -> list[Row]:
    store = SecretStore(places.secrets)
    rows = []
    for secret in settings.secrets:
        what = f"secret {secret.name}"
        try:
            store.get(secret.name)
        except SecretMissingError as error:
            detail, _, advice = str(error).partition(": ")
            path = places.secrets / secret.name
            if not secret.given and not path.exists():
                advice = f"run `autogate init`, or {advice}"
            rows.append(Row(what, Status.FAILED, f"{detail} ({secret.purpose})", advice))
        else:
            rows.append(Row(what, Status.OK, secret.purpose))
    return rows


def _tool(program: str, scope: Scope) -> Row:
    what, path = f"tool {program}", shutil.which(program)
    if path is None:
        if program == "uv" and not scope.worker:
            return Row(what, Status.SKIPPED, "only workers need it: run `autogate check --worker` there")
        return Row(what, Status.FAILED, f"is not in PATH ({os.environ.get('PATH', '')})", package(program))
    if program != "git":
        return Row(what, Status.OK, path)
    try:
        done = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=30, check=False)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired) as error:
        return Row(what, Status.FAILED, f"{path} cannot be run: {error}", package(program))
    found = git_version(done.stdout)
    if found < OLDEST_GIT:
        oldest = ".".join(map(str, OLDEST_GIT))
        detail = f"{path} is version {'.'.join(map(str, found)) or 'unknown'}"
        return Row(what, Status.FAILED, detail, f"install git {oldest} or newer")
    return Row(what, Status.OK, f"{path}, version {'.'.join(map(str, found))}")


def _state(places: Places) -> Row:
    what = "state folder"
    try:
        make_private_folder(places.state)
        with tempfile.TemporaryFile(dir=places.state):
            pass
    except OSError as error:
        advice = cure(error) or "choose another with --state or AUTOGATE_STATE"
        return Row(what, Status.FAILED, f"{places.state} cannot be written: {error.strerror}", advice)
    if ssh.sharing_folder(places) is None:
        return Row(what, Status.OK, f"{places.state}; its path is too long to share ssh connections, which is slower")
    return Row(what, Status.OK, str(places.state))


async def _repository(
    repository: Repository, places: Places, scope: Scope, git: Git | None, gate: asyncio.Semaphore
) -> list[Row]:
    reach, branches = f"{repository.name}: repository", f"{repository.name}: target branches"
    rows: list[Row] = []
    if repository.remote.ssh:
        if git is None:
            return [Row(reach, Status.SKIPPED, "needs git and ssh")]
        rows = await asyncio.to_thread(_keys, repository, places, scope)
        if not healthy(rows):
            return [*rows, Row(reach, Status.SKIPPED, "needs both keys"), Row(branches, Status.SKIPPED)]
    wanted = list(dict.fromkeys([*repository.targets, *_OTHER_NAMES, repository.auto, repository.try_branch]))
    if git is None:
        return [Row(reach, Status.SKIPPED, "needs git")]
    try:
        async with gate:
            tips = await git.ls_remote(repository.fetch_url, wanted)
    except (GitError, OSError) as error:
        advice = error.cure if isinstance(error, GitError) else cure(error)
        detail = f"{repository.url}: {error}"
        advice = advice or f"try it by hand: git ls-remote {repository.url}"
        return [*rows, Row(reach, Status.FAILED, detail, advice), Row(branches, Status.SKIPPED)]
    rows.append(Row(reach, Status.OK, repository.url))
    rows.append(_branches(branches, repository, tips))
    return rows


def _keys(repository: Repository, places: Places, scope: Scope) -> list[Row]:
    rows = []
    what = f"{repository.name}: deploy key"
    try:
        key = deploykeys.read(places, repository.name, scope.role)
    except Failure as failure:
        rows.append(Row(what, Status.FAILED, str(failure), failure.cure))
    except OSError as error:
        rows.append(Row(what, Status.FAILED, describe(error), cure(error)))
    else:
        rows.append(Row(what, Status.OK, f"{key.path} ({key.fingerprint})"))
    host = hostkeys.host_name(repository.remote)
    what = f"{repository.name}: host key of {host}"
    if hostkeys.pinned(places.known_hosts, repository.remote):
        rows.append(Row(what, Status.OK, f"pinned in {places.known_hosts}"))
    else:
        write = " --write" if scope.role is Role.WRITE else ""
        rows.append(
            Row(
                what,
                Status.FAILED,
                f"is not in {places.known_hosts}",
                f"run `autogate keys add {repository.name}{write}` and compare the fingerprint that it shows",
            )
        )
    return rows


def _branches(what: str, repository: Repository, tips: dict[str, str]) -> Row:
    missing = [branch for branch in repository.targets if branch not in tips]
    if not missing:
        return Row(what, Status.OK, ", ".join(f"{branch} is at {tips[branch][:12]}" for branch in repository.targets))
    there = [branch for branch in _OTHER_NAMES if branch in tips]
    hint = f"; there is {' and '.join(map(repr, there))}" if there else ""
    return Row(
        what,
        Status.FAILED,
        f"{', '.join(map(repr, missing))} does not exist at {repository.url}{hint}",
        f"push it, or correct targets in repos.d/{repository.name}.toml",
    )


async def _bot(settings: Settings, scope: Scope) -> list[Row]:
    bot = settings.site.bot
    if bot is None:
        return [Row("bot", Status.SKIPPED, "autogate.toml has no [bot]: results are shown in the web UI only")]
    # a result is posted and signed, so a bare GET is never taken for one; any answer at all shows that it is there
    answer = await _get(str(bot.url), scope)
    if isinstance(answer, int):
        return [Row("bot", Status.OK, f"{bot.url} answers (HTTP {answer})")]
    return [Row("bot", Status.FAILED, f"{bot.url}: {answer}", "start the bot, or correct url in [bot]")]


async def _web(settings: Settings, scope: Scope) -> list[Row]:
    url = settings.site.site.base_url
    answer = await _get(url, scope)
    if isinstance(answer, int):
        return [Row("web UI", Status.OK, f"{url} answers (HTTP {answer})")]
    # before the first start, and on other machines, that is as it should be
    return [Row("web UI", Status.SKIPPED, f"{url}: {answer}; does the master run?")]


async def _get(url: str, scope: Scope) -> int | str:
    """Return the status that a server answers with, or why there is no answer."""
    try:
        # no proxy from the environment: the master, which posts the results, uses none either
        async with (
            httpx.AsyncClient(timeout=scope.timeout, trust_env=False) as client,
            client.stream("GET", url) as answer,
        ):
            return answer.status_code
    except httpx.TimeoutException:
        return f"no answer within {scope.timeout:g} s"
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        return str(error) or type(error).__name__
