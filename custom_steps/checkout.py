"""Check out exactly the revision that a build is for."""

import re
from collections.abc import Sequence
from typing import ClassVar

from buildbot.config.errors import error as config_error
from buildbot.interfaces import IRenderable
from buildbot.process.results import SUCCESS

from autogate.gitwords import without_userinfo

from .cache import check_cache, default_cache
from .step import CONTROL, Stopped, WorkerStep

SHORT = 12


class CheckoutExact(WorkerStep):
    """Check out exactly the source stamp's revision, with its history, from a mirror kept on the worker.

    The work tree holds nothing but that revision afterwards: neither ignored files nor what a killed build left. A
    revision that the repository does not hand out any more, since its branch was forced or deleted, ends the build as
    CANCELLED with the cause "superseded"; a repository that cannot be read, or a worker in trouble, as EXCEPTION with
    the cause "infrastructure".

    Sets the properties ``got_revision`` and, when it fails, ``autogate_cause``.

    Args:
        url: The repository, as git on the worker reaches it.
        submodules: Whether to check out its submodules too, each at its recorded commit.
        cache: The worker's folder for mirrors; ``autogate-cache`` in the worker's base directory by default.
        codebase: Which of the build's source stamps.
        kwargs: What `WorkerStep` takes.
    """

    name = "checkout"
    program: ClassVar[str] = "custom_steps.on_worker.checkout"
    needs: ClassVar[tuple[str, ...]] = ("autogate.gitwords",)
    defaults: ClassVar[dict[str, object]] = {"timeout": None, "maxTime": 3600}
    renderables: Sequence[str] = ["url", "cache"]

    def __init__(
        self,
        url: object = None,
        *,
        submodules: bool = False,
        cache: object = None,
        codebase: str = "",
        **kwargs: object,
    ) -> None:
        if not IRenderable.providedBy(url) and (fault := _url_fault(url)):
            config_error(f"CheckoutExact: {fault}")
        if not isinstance(submodules, bool):
            config_error(f"CheckoutExact: submodules={submodules!r} must be True or False")
        check_cache("CheckoutExact", cache)
        super().__init__(**kwargs)
        self.url = url
        self.submodules = submodules
        self.cache = cache
        self.codebase = codebase

    async def perform(self) -> int:
        """Check out the revision."""
        assert self.build is not None  # noqa: S101 - a step that runs has one
        stamp = self.build.getSourceStamp(self.codebase)
        if stamp is None:
            raise Stopped(
                "configuration",
                f"the build has no source stamp of the codebase {self.codebase!r}\n"
                "Give CheckoutExact the codebase that the schedulers use.",
            )
        if fault := _url_fault(self.url):
            raise Stopped("configuration", f"CheckoutExact: {fault}")
        report = await self.ask_worker(
            {
                "url": self.url,
                "revision": stamp.revision or "",
                "branch": stamp.branch or "",
                "submodules": self.submodules,
                "cache": self.cache or default_cache(self),
            }
        )
        revision = report["revision"]
        self.note("got_revision", revision)
        self.summarise(f"checked out {revision[:SHORT]}" + (f" of {stamp.branch}" if stamp.branch else ""))
        return SUCCESS


def _url_fault(url: object) -> str:
    if not isinstance(url, str) or not url:
        return f"url={url!r} must be the repository's address, such as ssh://alias/owner/name.git"
    if url.startswith("-"):
        return f"url={url!r} begins with a dash, which git would read as an option"
    if CONTROL.search(url):
        return "the url contains a control character"
    if re.match(r"[a-z0-9+.-]+::", url, re.IGNORECASE):
        return f"url={without_userinfo(url)!r} names a remote helper, which could run any program"
    return ""
