"""The configuration: `autogate.toml` for the site and `repos.d/NAME.toml` a repository each."""

import difflib
import json
import re
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    HttpUrl,
    StringConstraints,
    ValidationError,
    field_validator,
)
from pydantic import model_validator as validator
from pydantic.fields import FieldInfo
from pydantic.json_schema import SkipJsonSchema
from pydantic_core import ErrorDetails

from . import linelinks, names, remote
from .gitwords import branch_name_fault, without_userinfo
from .names import Kind
from .places import Places
from .secretstore import SECRET_NAME, SecretName

WorkerName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_-]{0,49}$")]
VariableName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
PersonName = Annotated[str, StringConstraints(pattern=r"^[^\s@,=][^\s,=]{0,99}$")]
UserName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.@-]{1,64}$")]
Command = Annotated[tuple[str, ...], Field(min_length=1)]
RelativePath = Annotated[str, StringConstraints(pattern=r"^[^-/\x00-\x1f][^\x00-\x1f]*$")]


class Table(BaseModel):
    """A frozen TOML table that refuses unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


M = TypeVar("M", bound=Table)

_SECRET_KEYS = {"secret", "secrets", "poke_secret", "users"}
"""Under these keys a value may be a secret that somebody wrote by mistake: it is not repeated."""


def _without_login(url: HttpUrl) -> HttpUrl:
    if url.username is not None or url.password is not None:
        raise ValueError("contains a user or a password, which would be shown to everybody; delete it")
    return url


PlainUrl = Annotated[HttpUrl, AfterValidator(_without_login)]


class Site(Table):
    """What people see of the installation."""

    title: str = Field(default="Autogate", min_length=1, description="Shown at the top of every page.")
    url: PlainUrl = Field(
        default=HttpUrl("http://localhost:8010/"), description="Address of the web UI, as browsers reach it."
    )

    @property
    def base_url(self) -> str:
        """The address, with a slash at its end."""
        return str(self.url).rstrip("/") + "/"


class Web(Table):
    """Buildbot's web UI and who may do what there."""

    port: int = Field(default=8010, ge=1, le=65535, description="TCP port that the master listens on.")
    interface: str = Field(
        default="127.0.0.1", pattern=r"^[0-9A-Fa-f.:]+$", description="Address that the master listens on."
    )
    anonymous: Literal["nothing", "read"] = Field(
        default="nothing", description="What somebody who has not signed in may see."
    )
    users: dict[UserName, SecretName] = Field(
        default_factory=dict, description="Who may sign in: user name = name of the secret with the password."
    )
    admins: frozenset[UserName] = Field(
        default=frozenset(), description="Users who may also force, rebuild, stop and cancel builds."
    )
    badges: bool = Field(default=False, description="Whether anybody may see the builders' badges, without signing in.")
    poke_secret: SecretName | None = Field(
        default=None,
        description="Name of the secret that lets the user 'poke' ask a poller to look at once; without it nobody can.",
    )

    @validator(mode="after")
    def _admins_are_users(self) -> Self:
        if unknown := sorted(self.admins - self.users.keys()):
            raise ValueError(f"admins names {unknown[0]!r}, who is not in [web.users]; add a line there")
        return self


class Worker(Table):
    """A machine or container that builds."""

    name: WorkerName = Field(description="The name that the worker signs in with.")
    secret: SecretName = Field(description="Name of the secret with the worker's password.")
    max_builds: int = Field(default=2, ge=1, le=100, description="Builds that it runs at the same time.")


class Master(Table):
    """The Buildbot master itself."""

    worker_port: int = Field(default=9989, ge=1, le=65535, description="TCP port that workers connect to.")
    worker_interface: str = Field(
        default="127.0.0.1", pattern=r"^[0-9A-Fa-f.:]+$", description="Address that workers connect to."
    )
    keep_logs_days: int = Field(default=30, ge=1, description="Logs of older builds are deleted.")
    keep_builds_days: int = Field(
        default=365, ge=1, description="Data that steps stored with older builds is deleted; the builds stay."
    )


class Database(Table):
    """Where Buildbot, or the bot, keeps its state."""

    url: str = Field(
        default="sqlite:///state.sqlite",
        pattern=r"^(?:sqlite:///|postgresql(?:\+psycopg2)?://)[^\s]+$",
        description="SQLAlchemy URL without a password.",
    )
    secret: SecretName | None = Field(default=None, description="Name of the secret with the database's password.")

    @field_validator("url")
    @classmethod
    def _without_password(cls, url: str) -> str:
        scheme, _, rest = url.partition("://")
        login, at, _ = rest.rpartition("@")
        if scheme != "sqlite" and ((at and ":" in login) or re.search(r"[?&]password=", rest)):
            raise ValueError('contains a password; name it instead: secret = "db_password"')
        return url


class Bot(Table):
    """The review bot that gets every result."""

    url: PlainUrl = Field(description="Address that results are posted to.")
    secret: SecretName = Field(description="Name of the secret that master and bot share.")
    protocol: Literal["autogate", "homu"] = Field(
        default="autogate", description="'homu' posts what an unmodified Homu understands."
    )
    name: str = Field(
        default="autogate",
        pattern=r"^[A-Za-z0-9][A-Za-z0-9-]{0,38}$",
        description="What comments call the bot: `@autogate r+`. Its merges are made under this name.",
    )
    email: str = Field(
        default="autogate@localhost",
        pattern=r"^[^\s<>@]+@[^\s<>@]+$",
        description="The committer's e-mail address of its merges.",
    )
    interface: str = Field(
        default="127.0.0.1", pattern=r"^[0-9A-Fa-f.:]+$", description="Address that the bot listens on."
    )
    port: int = Field(default=8080, ge=1, le=65535, description="TCP port that the bot listens on.")
    master: PlainUrl | None = Field(
        default=None,
        description="Address of Buildbot's web UI as the bot reaches it; `site.url` when left out.",
    )
    user: UserName | None = Field(
        default=None,
        description="User of `[web.users]` that the bot signs in as to ask Buildbot for lost results; in `admins`, it "
        "cancels builds too.",
    )
    database: Database = Field(
        default_factory=lambda: Database(url="sqlite:///bot.sqlite"), description="Where the bot keeps its state."
    )
    lease: int = Field(
        default=15,
        ge=2,
        le=300,
        description="Seconds after which a bot that stands by takes over from one that died.",
    )


class SiteFile(Table):
    """`autogate.toml`: what all repositories share."""

    site: Site = Site()
    web: Web = Web()
    master: Master = Master()
    database: Database = Database()
    bot: Bot | None = Field(default=None, description="Left out: results are shown in the web UI only.")
    workers: tuple[Worker, ...] = Field(description="At least one [[workers]] table.")

    @validator(mode="after")
    def _the_bot_is_a_user(self) -> Self:
        if self.bot and self.bot.user and self.bot.user not in self.web.users:
            raise ValueError(f"bot.user is {self.bot.user!r}, who is not in [web.users]; add a line there")
        return self

    @field_validator("workers")
    @classmethod
    def _worker_names_differ(cls, workers: tuple[Worker, ...]) -> tuple[Worker, ...]:
        if not workers:
            raise ValueError("is empty, so nothing would ever build; add a [[workers]] table")
        seen: set[str] = set()
        for worker in workers:
            if worker.name in seen:
                raise ValueError(f"two workers are called {worker.name!r}; give each a name of its own")
            seen.add(worker.name)
        return workers


class Python(Table):
    """The virtual environment that lint and tests run in."""

    version: str | None = Field(
        default=None, pattern=r"^3\.\d+(?:\.\d+)?$", description="Such as '3.13'; the worker's own when left out."
    )
    requirements: tuple[RelativePath, ...] = Field(
        default=(), description="Requirements files of the repository, installed with uv."
    )
    packages: tuple[Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][^\x00-\x1f]*$")], ...] = Field(
        default=(), description="Further packages, such as 'pytest>=8'."
    )


class Lint(Table):
    """The lint builder: pylint on what the merge changes."""

    enabled: bool = Field(default=True, description="Whether there is a lint builder.")
    scope: Literal["introduced", "lines", "files"] = Field(
        default="introduced",
        description="'introduced' judges what the merge brings in, wherever it shows; 'lines' what is on lines that "
        "it adds; 'files' whole changed files, by their score.",
    )
    limit: float | None = Field(
        default=None,
        ge=-10,
        le=10,
        description="Lowest score that a changed file may have; with scope 'files' 8.0 when left out, else none.",
    )
    fail_on: Literal["info", "convention", "refactor", "warning", "error", "fatal", "nothing"] | None = Field(
        default=None,
        description="The lightest severity that fails; when left out 'convention', and with scope 'files' 'nothing', "
        "but for the score.",
    )
    also: tuple[Literal["ruff"], ...] = Field(default=(), description="Further linters, on the same terms.")
    config_from: Literal["base", "merge"] = Field(
        default="base",
        description="Whose pylint configuration is obeyed; with 'merge' a change can switch off its own judge.",
    )
    suppressions: Literal["allow", "warn", "fail"] = Field(
        default="fail", description="What becomes of new comments that switch messages off."
    )
    dependents: Literal["near", "all", "none"] = Field(
        default="near",
        description="Unchanged files that are judged too: 'near' load what changed and name some of it, 'all' load it.",
    )
    dependents_time: float | None = Field(
        default=None,
        gt=0,
        description="Seconds that they may take; when left out half a second and a quarter more a changed file, at "
        "most 10. What is left out is said.",
    )
    file_time: float = Field(default=120, gt=0, description="Seconds that one file may take.")
    file_memory: int = Field(default=2048, ge=1, description="MiB that one file may take.")
    pylintrc: RelativePath | None = Field(
        default=None, description="pylint's configuration in the repository; pylint's own search when left out."
    )
    link: str | None = Field(
        default=None,
        description="Address of a line at the forge, such as 'https://git.example.com/{revision}/{path}#L{line}'.",
    )
    timeout: int = Field(default=1800, ge=1, description="Seconds without output after which it is stopped.")
    max_time: int = Field(default=7200, ge=1, description="Seconds after which it is stopped in any case.")

    @field_validator("link")
    @classmethod
    def _is_a_template(cls, link: str | None) -> str | None:
        if link is not None and (fault := linelinks.fault(link)):
            raise ValueError(fault)
        return link


class Test(Table):
    """The test builder."""

    enabled: bool = Field(default=True, description="Whether there is a test builder.")
    framework: Literal["unittest", "pytest"] = Field(default="unittest", description="How tests are found and run.")
    directory: RelativePath = Field(default="tests", description="Where the tests are.")
    command: Command | None = Field(
        default=None, description="Any command instead, such as ['make', 'test']; its exit code decides."
    )
    timeout: int = Field(default=1800, ge=1, description="Seconds without output after which it is stopped.")
    max_time: int = Field(default=7200, ge=1, description="Seconds after which it is stopped in any case.")


class Deploy(Table):
    """The deploy builder: runs when a target moved. Never required for landing."""

    command: Command = Field(description="What to run in a checkout of the target's tip, such as ['./deploy'].")
    secrets: dict[VariableName, SecretName] = Field(
        default_factory=dict, description="Environment variable = name of the secret that it gets."
    )
    timeout: int = Field(default=1800, ge=1, description="Seconds without output after which it is stopped.")
    max_time: int = Field(default=7200, ge=1, description="Seconds after which it is stopped in any case.")


class Review(Table):
    """Who may say what to the bot."""

    reviewers: frozenset[PersonName] = Field(
        default=frozenset(), description="Who may approve: names of the forge, or of API tokens."
    )
    try_users: frozenset[PersonName] = Field(
        default=frozenset(), description="Who may, besides, start try builds, retry, cancel and set priorities."
    )


class Batch(Table):
    """How many pull requests are merged and tested together."""

    max: int = Field(default=8, ge=1, le=64, description="At most so many; 1 tests each alone, as Homu does.")


class Gate(Table):
    """How patient the gate is."""

    timeout: int = Field(default=14400, ge=10, description="Seconds from a candidate's push to its last verdict.")
    infrastructure_retries: int = Field(
        default=2, ge=0, le=20, description="New attempts after a failure that is nobody's fault."
    )
    ask_interval: int = Field(
        default=60,
        ge=1,
        le=3600,
        description="Seconds of silence after which Buildbot is asked what became of a build.",
    )


class Repository(Table):
    """`repos.d/NAME.toml`: one repository."""

    name: SkipJsonSchema[str]
    url: str = Field(description="Address, such as ssh://git@git.example.com/owner/repo.git.")
    targets: tuple[str, ...] = Field(
        default=("main",), min_length=1, description="The long-lived branches that changes land on."
    )
    auto: str = Field(default="auto", description="The branch that the bot pushes candidates to.")
    try_branch: str = Field(default="try", alias="try", description="The branch that the bot pushes try builds to.")
    poll_interval: int = Field(default=60, ge=1, le=86400, description="Seconds between two looks at the repository.")
    submodules: bool = Field(default=False, description="Whether submodules are checked out too.")
    python: Python = Python()
    lint: Lint = Lint()
    test: Test = Test()
    deploy: Deploy | None = None
    forge: Literal["git"] = Field(
        default="git", description="Where pull requests live; 'git' takes pushes to refs/for/TARGET/TOPIC."
    )
    report_secret: SecretName | None = Field(
        default=None,
        description="Name of the secret that results of this repository are signed with, not `bot.secret`.",
    )
    review: Review = Review()
    batch: Batch = Batch()
    gate: Gate = Gate()

    @field_validator("url")
    @classmethod
    def _is_an_address(cls, url: str) -> str:
        return remote.parse(url).url

    @field_validator("targets", "auto", "try_branch")
    @classmethod
    def _are_branches(cls, value: str | tuple[str, ...]) -> str | tuple[str, ...]:
        for branch in (value,) if isinstance(value, str) else value:
            if fault := branch_name_fault(branch):
                raise ValueError(f"the branch {branch!r} {fault}")
        return value

    @validator(mode="after")
    def _makes_sense(self) -> Self:
        branches = [*self.targets, self.auto, self.try_branch]
        if twice := sorted({branch for branch in branches if branches.count(branch) > 1}):
            raise ValueError(f"the branch {twice[0]!r} is named twice; targets, auto and try must all differ")
        if not self.required_builders:
            raise ValueError("lint and test are both switched off, so nothing would guard the branch; enable one")
        return self

    @property
    def remote(self) -> remote.Remote:
        """The parts of `url`."""
        return remote.parse(self.url)

    @property
    def line_link(self) -> str:
        """The template of `linelinks`; empty where neither `lint.link` nor a known forge gives one."""
        return self.lint.link or linelinks.template(self.remote)

    @property
    def fetch_url(self) -> str:
        """The address through the generated ssh_config, with the repository's own key."""
        return self.remote.by_alias(names.ssh_alias(self.name))

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """The builders that the repository has."""
        wanted = {Kind.LINT: self.lint.enabled, Kind.TEST: self.test.enabled, Kind.DEPLOY: self.deploy is not None}
        return tuple(kind for kind in Kind if wanted[kind])

    @property
    def required_builders(self) -> tuple[str, ...]:
        """The names of the builders that must all pass before a change lands."""
        return tuple(names.builder(self.name, kind) for kind in self.kinds if kind is not Kind.DEPLOY)


@dataclass(frozen=True, order=True)
class Problem:
    """A fault in the configuration.

    Attributes:
        file: Where it stands.
        key: The TOML key, dotted; empty when it concerns the whole file.
        message: What is wrong and what to write instead.
    """

    file: Path
    key: str
    message: str

    def __str__(self) -> str:
        return f"{self.file}: {self.key + ': ' if self.key else ''}{self.message}"


class SettingsError(Exception):
    """The site's own file cannot be used.

    Attributes:
        problems: All faults of all files.
    """

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


class UnknownRepositoryError(KeyError):
    """No usable repository has that name."""

    def __str__(self) -> str:
        return str(self.args[0])  # KeyError's own would put it in quotes


@dataclass(frozen=True)
class NamedSecret:
    """A secret that the configuration names.

    Attributes:
        name: Its name.
        purpose: What it is for, for people.
        given: Whether it comes from somewhere else, such as a registry's token; else any random text will do.
    """

    name: str
    purpose: str
    given: bool = False

    def also(self, other: Self) -> Self:
        """Return the same secret with the other's purpose too."""
        return replace(self, purpose=f"{self.purpose}; {other.purpose}", given=self.given or other.given)


@dataclass(frozen=True)
class Settings:
    """The whole configuration.

    Attributes:
        site: The site's own file.
        repositories: Those whose files are right, by name.
        problems: What is wrong with the others, which are left out.
    """

    site: SiteFile
    repositories: tuple[Repository, ...] = ()
    problems: tuple[Problem, ...] = ()

    def repository(self, name: str) -> Repository:
        """Return the repository called ``name``.

        Raises:
            UnknownRepositoryError: there is none, or its file is broken. The message says which.
        """
        for repository in self.repositories:
            if repository.name == name:
                return repository
        if faults := [str(problem) for problem in self.problems if problem.file.stem == name]:
            raise UnknownRepositoryError("\n".join(faults))
        there_are = ", ".join(repository.name for repository in self.repositories) or "none"
        raise UnknownRepositoryError(f"no repository is called {name!r} in repos.d/; there are: {there_are}")

    @property
    def secrets(self) -> tuple[NamedSecret, ...]:
        """Every secret that the configuration names, once each, in the order of the files."""
        site = self.site
        named = [NamedSecret(name, f"password of {user!r} in the web UI") for user, name in site.web.users.items()]
        if site.web.poke_secret:
            named.append(NamedSecret(site.web.poke_secret, "password of 'poke', who wakes the pollers"))
        if site.database.secret:
            named.append(NamedSecret(site.database.secret, "password of the database"))
        if site.bot:
            named.append(NamedSecret(site.bot.secret, "shared by master and bot"))
            if site.bot.database.secret:
                named.append(NamedSecret(site.bot.database.secret, "password of the bot's database"))
        named += [NamedSecret(worker.secret, f"password of the worker {worker.name!r}") for worker in site.workers]
        for repository in self.repositories:
            if repository.report_secret:
                named.append(NamedSecret(repository.report_secret, f"signs the results of {repository.name!r}"))
            for variable, name in repository.deploy.secrets.items() if repository.deploy else ():
                named.append(NamedSecret(name, f"{variable} of {repository.name!r} when it is deployed", given=True))
        merged: dict[str, NamedSecret] = {}
        for secret in named:
            twin = merged.get(secret.name)
            merged[secret.name] = secret if twin is None else twin.also(secret)
        return tuple(merged.values())


def load(places: Places) -> Settings:
    """Read the configuration. A repository with a broken file is left out and reported; the others go on.

    Raises:
        SettingsError: the site's file is broken or missing; it names the faults of all files.
    """
    repositories: list[Repository] = []
    problems: list[Problem] = []
    try:
        # hidden files are an editor's own
        paths = sorted(p for p in places.repositories.iterdir() if p.suffix == ".toml" and not p.name.startswith("."))
    except FileNotFoundError:
        paths = []
    except OSError as error:
        paths, problems = [], [Problem(places.repositories, "", f"cannot be read: {error.strerror}")]
    for path in paths:
        repository, faults = _load_repository(path)
        problems += faults
        if repository is None:
            continue
        if twin := next((other for other in repositories if other.url == repository.url), None):
            problems.append(Problem(path, "url", f"is also the url of {twin.name!r}; one file a repository is enough"))
            continue
        repositories.append(repository)
    site = _load(places.site_file, SiteFile, {})
    if not isinstance(site, SiteFile):
        raise SettingsError([*site, *problems])
    return Settings(site, tuple(repositories), tuple(problems))


def json_schema(model: type[SiteFile | Repository]) -> dict[str, Any]:
    """Return the JSON Schema of `autogate.toml` or of a repository's file, for editors."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **model.model_json_schema(by_alias=True)}


def _load_repository(path: Path) -> tuple[Repository | None, list[Problem]]:
    name = path.stem
    if not names.REPOSITORY_NAME.fullmatch(name):
        message = (
            f"{name!r} is no name for a repository: up to 40 lower-case letters, digits, '-' and '_', "
            f"the first a letter; rename the file"
        )
        return None, [Problem(path, "", message)]
    loaded = _load(path, Repository, {"name": name})
    return (loaded, []) if isinstance(loaded, Repository) else (None, loaded)


def _load(path: Path, model: type[M], given: dict[str, Any]) -> M | list[Problem]:
    table = _read(path)
    if isinstance(table, str):
        return [Problem(path, "", table)]
    if clash := given.keys() & table.keys():
        key = clash.pop()
        return [Problem(path, key, "is not written in the file: the file's own name says it; delete the line")]
    try:
        return model.model_validate(table | given)
    except ValidationError as error:
        return [_problem(path, model, detail) for detail in error.errors(include_url=False)]


def _read(path: Path) -> dict[str, Any] | str:
    """Return a file's table, or what is wrong with it."""
    try:
        return tomllib.loads(path.read_text("utf-8-sig"))
    except FileNotFoundError:
        return "is missing; copy the example, or point AUTOGATE_CONFIG at the right folder"
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    except UnicodeDecodeError as error:
        return f"is not UTF-8 text: byte {error.start} is wrong; save it as UTF-8"
    except RecursionError:
        return "is not TOML that anybody meant: its brackets are nested too deeply"
    except ValueError as error:  # TOMLDecodeError, and what int() says to a number of 5,000 digits
        return f"is not TOML: {error}"


def _problem(path: Path, model: type[Table], detail: ErrorDetails) -> Problem:
    key = ".".join(_as_key(str(part)) for part in detail["loc"] if part != "[key]")
    context = detail.get("ctx", {})
    match detail["type"]:
        case "extra_forbidden":
            known = _keys_at(model, detail["loc"][:-1])
            near = difflib.get_close_matches(str(detail["loc"][-1]), known, n=1)
            message = "is no key that Autogate knows; " + (
                f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(sorted(known))}"
            )
        case "missing":
            message = "is missing; add it"
        case "string_pattern_mismatch" if SECRET_NAME.pattern in context["pattern"]:
            # somebody may have written the secret itself: it is not repeated here
            message = f"must be the name of a secret ({context['pattern']}), never the secret itself"
        case "string_pattern_mismatch":
            message = f"has a form that is not allowed: {_short(detail['input'])} does not match {context['pattern']}"
        case "value_error":
            message = str(context["error"])
        case _ if _SECRET_KEYS.intersection(detail["loc"]):
            message = "must be the name of a secret, as a text in quotes, never the secret itself"
        case _:
            message = f"{detail['msg'][0].lower()}{detail['msg'][1:]}, not {_short(detail['input'])}"
    return Problem(path, key, message)


def _as_key(part: str) -> str:
    return part if re.fullmatch(r"[A-Za-z0-9_-]+", part) else json.dumps(part)


def _short(value: object) -> str:
    text = without_userinfo(repr(value))
    return text if len(text) <= 60 else text[:57] + "..."  # noqa: PLR2004


def _keys_at(model: type[Table], location: tuple[int | str, ...]) -> set[str]:
    """Return the keys of the table that ``location`` leads to."""
    table: type[Table] = model
    for part in location:
        fields: dict[str, FieldInfo] = {_alias(name, field): field for name, field in table.model_fields.items()}
        if part in fields:
            inner = [t for t in _types(fields[str(part)].annotation) if isinstance(t, type) and issubclass(t, Table)]
            if inner:
                table = inner[0]
    keys = {_alias(name, field) for name, field in table.model_fields.items()}
    return keys - {"name"} if table is Repository else keys


def _alias(name: str, field: FieldInfo) -> str:
    return field.alias or name


def _types(annotation: object) -> list[object]:
    inner = getattr(annotation, "__args__", ())
    return [annotation] if not inner else [found for part in inner for found in _types(part)]
