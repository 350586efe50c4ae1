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
from pydantic import ValidationError

from autogate import ssh
from autogate.botapi import Health
from autogate.git import Git, GitError
from autogate.places import Places
from autogate.secretstore import SecretMissingError, SecretStore
from autogate.settings import Bot, Problem, Repository, Settings, SettingsError, load
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
    WARNING = "warning"
    SKIPPED = "skipped"


@dataclass(frozen=True)
class Row:
    """One thing that was checked.

    Attributes:
        what: The thing.
        status: How it came out.
        detail: What was found.
        cure: What to do about a failure or a warning.
    """

    what: str
    status: Status
    detail: str = ""
    cure: str = ""


@dataclass(frozen=True)
class Scope:
    """What is checked.

    Attributes:
        role: Which deploy keys; all that the site needs when None.
        worker: Whether this is a worker, which needs tools and keys that read, but no secrets and no bot.
        timeout: Seconds that a server may take to answer.
    """

    role: Role | None = None
    worker: bool = False
    timeout: float = 20

    def roles(self, settings: Settings) -> tuple[Role, ...]:
        """Return the roles whose deploy keys are checked."""
        if self.role:
            return (self.role,)
        return (Role.READ,) if self.worker or not _gates(settings) else tuple(Role)


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
        # a state folder of its own: the shared connections of the real one would hide a key that no longer works
        apart = replace(places, state=Path(folder))
        roles = scope.roles(settings)
        try:
            for role in roles:
                ssh.install(settings.repositories, apart, role, sharing=False)
        except OSError as error:
            rows.append(Row("private copies of the deploy keys", Status.FAILED, describe(error), cure(error)))
            return rows
        at = _At(places, Path(folder), asyncio.Semaphore(AT_ONCE))
        usable = all(tool.status is Status.OK for tool in tools[:3])
        git = {role: Git(ssh.command(apart, role), scope.timeout) if usable else None for role in roles}
        slow: list[Awaitable[list[Row]]] = [
            _repository(repository, at, role, git[role], beside=role is not roles[0])
            for repository in settings.repositories
            for role in roles
        ]
        if Role.WRITE in roles:
            rows += [_reviewers(repository) for repository in settings.repositories]
        if not scope.worker:
            rows += _bots_user(settings)
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


def _gates(settings: Settings) -> bool:
    """Tell whether the site's bot is Autogate's own, and not somebody's Homu."""
    return settings.site.bot is not None and settings.site.bot.protocol == "autogate"


@dataclass(frozen=True)
class _At:
    """Where repositories are checked: the places, a folder to work in, and how many at a time."""

    places: Places
    folder: Path
    gate: asyncio.Semaphore


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


async def _repository(repository: Repository, at: _At, role: Role, git: Git | None, *, beside: bool) -> list[Row]:
    prefix = f"{repository.name}:"
    reach = f"{prefix} repository" if role is Role.READ else f"{prefix} push"
    follow = [f"{prefix} target branches"] if role is Role.READ else []
    rows: list[Row] = []

    def skipped(why: str) -> list[Row]:
        return [*rows, Row(reach, Status.SKIPPED, why), *(Row(what, Status.SKIPPED) for what in follow)]

    if git is None:
        return [Row(reach, Status.SKIPPED, "needs git and ssh" if repository.remote.ssh else "needs git")]
    if repository.remote.ssh:
        rows = [await asyncio.to_thread(_key, repository, at.places, role)]
        host_key = _host_key(repository, at.places, role)
        usable = healthy([*rows, host_key])
        if not beside:
            rows.append(host_key)
        if not usable:
            return skipped("needs both keys")
    try:
        async with at.gate:
            if role is Role.WRITE:
                await _push_nothing(git, repository, at.folder / repository.name)
                return [*rows, Row(reach, Status.OK, "the server takes the bot's key for pushes (nothing was pushed)")]
            wanted = list(dict.fromkeys([*repository.targets, *_OTHER_NAMES, repository.auto, repository.try_branch]))
            tips = await git.ls_remote(repository.fetch_url, wanted)
    except (GitError, OSError) as error:
        advice = error.cure if isinstance(error, GitError) else cure(error)
        command = "ls-remote" if role is Role.READ else "push --dry-run"
        advice = advice or f"try it by hand: git {command} {repository.url}"
        rows.append(Row(reach, Status.FAILED, f"{repository.url}: {error}", advice))
        return [*rows, *(Row(what, Status.SKIPPED) for what in follow)]
    rows.append(Row(reach, Status.OK, repository.url))
    rows.append(_branches(f"{prefix} target branches", repository, tips))
    return rows


async def _push_nothing(git: Git, repository: Repository, folder: Path) -> None:
    """Go as far as a push of the bot's goes before anything is sent.

    The server says whether the key may push to the repository at all; what it refuses ref by ref, in hooks or by
    protected branches, it says only to a real push.

    Raises:
        GitError: the server was not reached, or refused.
    """
    await git.run("init", "--quiet", "--bare", str(folder))
    tree = await git.run("hash-object", "-t", "tree", "-w", "--stdin", cwd=folder, stdin=b"")
    someone = {f"GIT_{who}_{what}": "autogate" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    commit = await git.run("commit-tree", "-m", "check", tree.decode().strip(), cwd=folder, env=someone)
    ref = f"{commit.decode().strip()}:refs/autogate/check"
    await git.run("push", "--quiet", "--dry-run", "--", repository.fetch_url, ref, cwd=folder)


def _key(repository: Repository, places: Places, role: Role) -> Row:
    what = f"{repository.name}: {'deploy key' if role is Role.READ else 'write key'}"
    try:
        key = deploykeys.read(places, repository.name, role)
    except Failure as failure:
        return Row(what, Status.FAILED, str(failure), failure.cure)
    except OSError as error:
        return Row(what, Status.FAILED, describe(error), cure(error))
    return Row(what, Status.OK, f"{key.path} ({key.fingerprint})")


def _host_key(repository: Repository, places: Places, role: Role) -> Row:
    what = f"{repository.name}: host key of {hostkeys.host_name(repository.remote)}"
    if hostkeys.pinned(places.known_hosts, repository.remote):
        return Row(what, Status.OK, f"pinned in {places.known_hosts}")
    write = " --write" if role is Role.WRITE else ""
    advice = f"run `autogate keys add {repository.name}{write}` and compare the fingerprint that it shows"
    return Row(what, Status.FAILED, f"is not in {places.known_hosts}", advice)


def _reviewers(repository: Repository) -> Row:
    what = f"{repository.name}: reviewers"
    if reviewers := sorted(repository.review.reviewers):
        return Row(what, Status.OK, ", ".join(reviewers))
    return Row(
        what,
        Status.WARNING,
        "nobody may approve, so nothing lands",
        f'name them in repos.d/{repository.name}.toml, such as [review] with reviewers = ["ada"]',
    )


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


def _bots_user(settings: Settings) -> list[Row]:
    bot, what = settings.site.bot, "bot's user"
    if bot is None or not _gates(settings):
        return []
    if bot.user is None:
        return [
            Row(
                what,
                Status.WARNING,
                "the bot does not sign in to Buildbot: it cannot cancel builds, nor ask for results that were lost"
                if settings.site.web.anonymous == "nothing"
                else "the bot does not sign in to Buildbot: it cannot cancel builds",
                'write user = "bot" in [bot], add bot to users and admins of [web], then `autogate init`',
            )
        ]
    if bot.user not in settings.site.web.admins:
        detail = f"{bot.user!r} is no admin of [web]: the bot cannot cancel builds of what is out of date"
        return [Row(what, Status.WARNING, detail, f"add {bot.user!r} to admins of [web]")]
    return [Row(what, Status.OK, f"{bot.user!r} asks Buildbot, and cancels")]


async def _bot(settings: Settings, scope: Scope) -> list[Row]:
    bot = settings.site.bot
    if bot is None:
        return [Row("bot", Status.SKIPPED, "autogate.toml has no [bot]: results are shown in the web UI only")]
    if _gates(settings):
        return [await _health(bot, scope)]
    # a result is posted and signed, so a bare GET is never taken for one; any answer at all shows that it is there
    answer = await _get(str(bot.url), scope)
    if isinstance(answer, str):
        return [Row("bot", Status.FAILED, f"{bot.url}: {answer}", "start the bot, or correct url in [bot]")]
    return [Row("bot", Status.OK, f"{bot.url} answers (HTTP {answer.status_code})")]


async def _health(bot: Bot, scope: Scope) -> Row:
    url = str(httpx.URL(str(bot.url)).join("/healthz"))
    answer = await _get(url, scope)
    if isinstance(answer, str):
        return Row("bot", Status.FAILED, f"{url}: {answer}", "start the bot, or correct url in [bot]")
    try:
        health = Health.model_validate_json(answer.content)
    except ValidationError:
        return Row(
            "bot",
            Status.WARNING,
            f"{url} answers (HTTP {answer.status_code}), but is not the review bot: results arrive, and nothing lands",
            "start the bot there (`autogate-bot run`), or correct url in [bot]",
        )
    match health.status:
        case "no_database":
            advice = "start its database; the bot's log says what is wrong with it"
            return Row("bot", Status.FAILED, f"{url}: it does not reach its database", advice)
        case "stuck":
            detail = f"{url}: it is stuck, {health.behind_seconds:g} s behind"
            return Row("bot", Status.FAILED, detail, "look into its log, then restart it: nothing is lost")
        case "ok":
            role = "leads" if health.role == "leader" else "stands by"
            return Row("bot", Status.OK, f"{url}: it {role}, and is {health.behind_seconds:g} s behind")


async def _web(settings: Settings, scope: Scope) -> list[Row]:
    url = settings.site.site.base_url
    answer = await _get(url, scope)
    if not isinstance(answer, str):
        return [Row("web UI", Status.OK, f"{url} answers (HTTP {answer.status_code})")]
    # before the first start, and on other machines, that is as it should be
    return [Row("web UI", Status.SKIPPED, f"{url}: {answer}; does the master run?")]


async def _get(url: str, scope: Scope) -> httpx.Response | str:
    """Return what a server answers, or why there is no answer."""
    try:
        # no proxy from the environment: the master, which posts the results, uses none either
        async with httpx.AsyncClient(timeout=scope.timeout, trust_env=False) as client:
            return await client.get(url)
    except httpx.TimeoutException:
        return f"no answer within {scope.timeout:g} s"
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        return str(error) or type(error).__name__
