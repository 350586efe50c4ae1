"""The bot's API, as commands use it."""

import ipaddress
import os
import re
import stat
import uuid
from collections.abc import Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Annotated, TypeVar
from urllib.parse import quote

import httpx
import typer
from pydantic import BaseModel, ValidationError

from autogate import botapi
from autogate.botapi import CommandResult, Found, Problem, PullRequestDetail, Queue, Repositories, RepositoryResult
from autogate.places import Places
from autogate.settings import SettingsError, load

from .failures import Failure

BotOption = Annotated[
    str | None,
    typer.Option("--bot", metavar="URL", envvar="AUTOGATE_BOT_URL", help="The bot's address.", show_default="[bot]"),
]
TokenFileOption = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE", help="Holds the token.", show_default="$AUTOGATE_TOKEN, else ~/.config/autogate/token"
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
WatchOption = Annotated[bool, typer.Option("--watch", help="Go on showing what changes.")]
RepositoryArgument = Annotated[str, typer.Argument(metavar="REPO", help="The repository's name.")]
PullArgument = Annotated[
    str, typer.Argument(metavar="PR", help="The pull request's number, or its topic: fix-typo or main/fix-typo.")
]

_ANSWER_SECONDS = 60
"""So long anything may take; a command's answer waits on the server's side."""

_MAKE_TOKEN = "make one where the bot runs with `autogate-bot token add NAME`, and put it into "  # noqa: S105  (a text)
_TOKEN = re.compile(r"[\x21-\x7e]+")

M = TypeVar("M", bound=BaseModel)


class BotUnreachableError(Failure):
    """The bot does not answer, or cannot work just now: worth trying again."""


class BotClient:
    """A bot, asked in the name of a token.

    Args:
        address: Where it listens, such as ``http://127.0.0.1:8080``.
        token: Proves who asks.
    """

    def __init__(self, address: str, token: str) -> None:
        self.address = address
        self._http = httpx.Client(
            base_url=address.rstrip("/") + botapi.PREFIX,
            headers={"Authorization": f"Bearer {token}", "Accept": "application/json"},
            timeout=_ANSWER_SECONDS,
            # what stays on this machine is no proxy's business, and the token is not either
            trust_env=not _is_here(address),
        )

    def repositories(self) -> Repositories:
        """Return every repository in short."""
        return self._get("/repositories", Repositories)

    def queue(self, repository: str, target: str | None, limit: int) -> Queue:
        """Return the first page of a queue."""
        return self._get(_path(repository, "queue"), Queue, _page(target, limit))

    def queue_after(
        self, repository: str, target: str | None, limit: int, tag: str, wait: float
    ) -> tuple[Queue, str] | None:
        """Return the first page of a queue as soon as it is not what ``tag`` stands for, with the new tag.

        Returns:
            None when nothing changed for ``wait`` seconds.
        """
        return self._changed(_path(repository, "queue"), Queue, tag, wait, _page(target, limit))

    def pull_request(self, repository: str, number: int) -> PullRequestDetail:
        """Return all about a pull request."""
        return self._get(_path(repository, "pulls", str(number)), PullRequestDetail)

    def pull_request_after(self, repository: str, number: int, tag: str) -> tuple[PullRequestDetail, str] | None:
        """Return all about a pull request as soon as it is not what ``tag`` stands for, with the new tag.

        Returns:
            None when nothing changed for a while.
        """
        return self._changed(
            _path(repository, "pulls", str(number)), PullRequestDetail, tag, botapi.MAX_WAIT_SECONDS, {}
        )

    def find(self, repository: str, source: str) -> Found:
        """Return the pull requests that a topic stands for."""
        return self._get(_path(repository, "pulls"), Found, {"source": source})

    def comment(self, repository: str, number: int, body: str) -> CommandResult:
        """Comment on a pull request, and wait for the answer.

        Raises:
            Failure: the bot got the comment, but does not answer.
        """
        new = botapi.NewComment(id=uuid.uuid4(), body=body)
        path = _path(repository, "pulls", str(number), "comments")
        for _wait in range(4):
            result = self._post(path, CommandResult, new)
            if result.settled:
                return result
        raise Failure(
            "the bot has the comment, but is still at it",
            f"`autogate show {repository} {number}` tells what became of it",
        )

    def ask(self, repository: str, what: str, body: BaseModel | None = None) -> RepositoryResult:
        """Ask something of a repository: ``freeze``, ``thaw``, ``pause``, ``resume`` or ``poke``."""
        return self._post(_path(repository, what), RepositoryResult, body)

    def _get(self, path: str, model: type[M], query: Mapping[str, str | float] | None = None) -> M:
        return self._read(self._send("GET", path, params=query), model)

    def _changed(
        self, path: str, model: type[M], tag: str, wait: float, query: Mapping[str, str | float]
    ) -> tuple[M, str] | None:
        response = self._send("GET", path, params={**query, "wait": wait}, headers={"If-None-Match": tag})
        if response.status_code == HTTPStatus.NOT_MODIFIED:
            return None
        return self._read(response, model), response.headers.get("ETag", "")

    def _post(self, path: str, model: type[M], body: BaseModel | None) -> M:
        return self._read(self._send("POST", path, json=body.model_dump(mode="json") if body else None), model)

    def _send(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str | float] | None = None,
        headers: Mapping[str, str] | None = None,
        json: object = None,
    ) -> httpx.Response:
        cure = "is it running, and is that its address? Name another with --bot or AUTOGATE_BOT_URL"
        try:
            response = self._http.request(method, path, params=params, headers=headers, json=json)
        except httpx.TimeoutException:
            raise BotUnreachableError(f"the bot at {self.address} does not answer", cure) from None
        except httpx.TransportError as error:
            raise BotUnreachableError(f"the bot at {self.address} cannot be reached: {error}", cure) from None
        if response.is_success or response.status_code == HTTPStatus.NOT_MODIFIED:
            return response
        raise _failure(response, self.address)

    def _read(self, response: httpx.Response, model: type[M]) -> M:
        try:
            return model.model_validate_json(response.content)
        except ValidationError:
            raise Failure(
                f"what answers at {self.address} is no bot that this version understands",
                "name its address with --bot, or bring both to the same version",
            ) from None


def connect(places: Places, address: str | None, token_file: Path | None) -> BotClient:
    """Return the bot.

    Args:
        places: Where the settings are, for the address.
        address: What ``--bot`` says.
        token_file: What ``--token-file`` says.

    Raises:
        Failure: address or token are not known.
    """
    return BotClient(_address(places, address), _token(token_file))


def _address(places: Places, given: str | None) -> str:
    if given is not None:
        url = _url(given)
        if url is None or url.scheme not in {"http", "https"} or not url.host:
            raise typer.BadParameter("it must be an address such as http://127.0.0.1:8080", param_hint="--bot")
        if url.userinfo:
            raise typer.BadParameter("it contains a user or a password; the token is what counts", param_hint="--bot")
        return given
    cure = "name its address with --bot URL or AUTOGATE_BOT_URL"
    try:
        bot = load(places).site.bot
    except SettingsError as error:
        raise Failure(str(error), cure) from None
    if bot is None:
        raise Failure(f"{places.site_file} has no [bot]", cure)
    # where it listens everywhere, it listens here
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(bot.interface, bot.interface)  # noqa: S104  (compared, not bound)
    return f"http://{f'[{host}]' if ':' in host else host}:{bot.port}"


def _is_here(address: str) -> bool:
    host = httpx.URL(address).host
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _url(text: str) -> httpx.URL | None:
    try:
        return httpx.URL(text)
    except httpx.InvalidURL:
        return None


def _token(file: Path | None) -> str:
    if file is not None:
        return _first_line(file)
    if token := os.environ.get("AUTOGATE_TOKEN", "").strip():
        return _checked(token, "AUTOGATE_TOKEN")
    home = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "autogate" / "token"
    try:
        mode = home.stat().st_mode
    except FileNotFoundError:
        raise Failure("there is no token for the bot", f"{_MAKE_TOKEN}{home} (mode 0600) or AUTOGATE_TOKEN") from None
    if stat.S_IMODE(mode) & 0o077:
        raise Failure(f"others may read {home}", f"chmod 600 {home}")
    return _first_line(home)


def _first_line(file: Path) -> str:
    try:
        return _checked(file.read_text("utf-8").strip(), str(file))
    except UnicodeDecodeError:
        raise Failure(f"{file} holds no token: it is not UTF-8 text", _MAKE_TOKEN + str(file)) from None


def _checked(token: str, where: str) -> str:
    if not _TOKEN.fullmatch(token):
        raise Failure(f"{where} holds no token: it is one word of ASCII letters", _MAKE_TOKEN + where)
    return token


def _path(repository: str, *parts: str) -> str:
    return "/repositories/" + "/".join(quote(part, safe="") for part in (repository, *parts))


def _page(target: str | None, limit: int) -> dict[str, str | float]:
    return {"limit": limit} if target is None else {"limit": limit, "target": target}


def _failure(response: httpx.Response, address: str) -> Failure:
    """Return what the user is told of an answer that is an error."""
    try:
        problem = Problem.model_validate_json(response.content)
    except ValidationError:
        fault = f"{address} answers {response.status_code} {response.reason_phrase}"
        kind = BotUnreachableError if response.is_server_error else Failure
        return kind(fault, "is that the bot's address? Name it with --bot or AUTOGATE_BOT_URL")
    cure = problem.cure
    if response.status_code == HTTPStatus.UNAUTHORIZED:
        cure = f"{_MAKE_TOKEN}~/.config/autogate/token (mode 0600) or AUTOGATE_TOKEN"
    elif problem.near and not any(name in cure for name in problem.near):
        cure = f"did you mean {' or '.join(problem.near)}? {cure}".strip()
    kind = BotUnreachableError if response.status_code == HTTPStatus.SERVICE_UNAVAILABLE else Failure
    return kind(problem.detail, cure)
