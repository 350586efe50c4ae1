"""The web UI: closed to anybody who has not signed in, unless the site's settings open it."""

from collections.abc import Callable, Mapping
from typing import Any

from buildbot.www.auth import UserPasswordAuth
from buildbot.www.authz import Authz
from buildbot.www.authz.endpointmatchers import AnyControlEndpointMatcher, AnyEndpointMatcher
from buildbot.www.authz.roles import RolesFromBase
from twisted.cred.checkers import InMemoryUsernamePasswordDatabaseDontUse
from twisted.web.pages import notFound

from autogate.settings import Web

ADMINS = "admins"
READERS = "readers"

POKE_USER = b"poke"

VIEWS = ("console_view", "grid_view", "waterfall_view")
BADGES = "badges"


class SignIn(UserPasswordAuth):
    """Sign-in by user name and password, and no way round it.

    Buildbot 4.3 asks its authorization rules for ``/api`` and ``/ws``, not for the older event stream ``/sse``, which
    its own pages no longer use; so that one is taken away.
    """

    def reconfigAuth(self, master: Any, new_config: Any) -> None:  # noqa: ANN401, N802  (Buildbot's signature)
        """Take effect: called when the site has been set up, and again at every reconfiguration."""
        super().reconfigAuth(master, new_config)
        master.www.root.putChild(b"sse", notFound())


class RolesByName(RolesFromBase):
    """Gives each user the roles that the settings say, and `READERS` to everybody where the settings open reading."""

    def __init__(self, web: Web) -> None:
        super().__init__()
        self._web = web

    def getRolesFromUser(self, userDetails: Mapping[str, Any]) -> list[str]:  # noqa: N802, N803  (Buildbot's names)
        """Return the roles of somebody, signed in or not."""
        user = "" if userDetails.get("anonymous") else userDetails.get("username", "")
        roles = [READERS] if user in self._web.users or self._web.anonymous == "read" else []
        return [*roles, ADMINS] if user in self._web.admins else roles


def authz(web: Web) -> Authz:
    """Return the rules: admins do, readers see, and what no rule allows is denied."""
    return Authz(
        allowRules=[AnyControlEndpointMatcher(role=ADMINS), AnyEndpointMatcher(role=READERS)],
        roleMatchers=[RolesByName(web)],
    )


def www(
    web: Web, secret: Callable[[str], str], plugins: frozenset[str], versions: list[tuple[str, str]]
) -> dict[str, Any]:
    """Return Buildbot's ``c["www"]``.

    Args:
        web: The settings.
        secret: Looks up a secret by its name.
        plugins: The www plugins that are installed.
        versions: Lines for the page "About".

    Raises:
        SecretMissingError: a user's password is missing.
    """
    config: dict[str, Any] = {
        "port": f"tcp:{web.port}:interface={strports_quoted(web.interface)}",
        "plugins": {view: {} for view in VIEWS if view in plugins},
        "auth": SignIn({user: secret(name) for user, name in web.users.items()}),
        "authz": authz(web),
        "versions": versions,
        # a hook that is not there cannot be fooled: the poller's is the only one, and it carries no data
        "change_hook_dialects": {},
    }
    if web.badges and BADGES in plugins:
        config["plugins"][BADGES] = {}
    if web.poke_secret:
        config["change_hook_dialects"] = {"poller": True}
        password = secret(web.poke_secret).encode()
        config["change_hook_auth"] = [InMemoryUsernamePasswordDatabaseDontUse(**{POKE_USER.decode(): password})]
    return config


def strports_quoted(interface: str) -> str:
    """Return an address as it stands in a Twisted endpoint's description, where a colon has a meaning of its own."""
    return interface.replace(":", r"\:")
