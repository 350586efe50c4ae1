"""Make the virtual environment that a build's later steps run in."""

from collections.abc import Sequence
from typing import ClassVar

from buildbot.config.errors import error as config_error
from buildbot.interfaces import IRenderable
from buildbot.process.results import SUCCESS

from .cache import check_cache, default_cache
from .step import WorkerStep, check_positive, check_relative, check_words


class Virtualenv(WorkerStep):
    """Make a virtual environment with uv, or take the one that was made for the very same requirements before.

    Environments are kept on the worker by the hash of the requirement files (and all they include), the packages, the
    Python, and uv's settings. One that was not completed is made anew; one that nobody used for a while is deleted.
    An environment that a requirement file fills from a path or a URL cannot be known by a hash: it is made anew for
    each build. A requirement that cannot be installed ends the build as FAILURE with the cause "change"; a registry
    that does not answer, or a worker without uv, as EXCEPTION with the cause "infrastructure".

    Sets the property ``virtualenv``, the environment's folder: `CommitHookPylint` and `RunTests` put its ``bin`` before
    the ``PATH``; a stock step gets the same with ``env={"PATH": [Interpolate("%(prop:virtualenv)s/bin"), "${PATH}"]}``.

    Args:
        requirements: Requirement files, relative to the repository's root.
        packages: Further requirements, such as ``("pytest>=8",)``.
        python: What uv understands as a Python: a version or a path; the worker's ``python3`` by default.
        max_age_days: Delete environments that no build used for so many days.
        cache: The worker's folder for environments; ``autogate-cache`` in the worker's base directory by default.
        kwargs: What `WorkerStep` takes.
    """

    name = "virtualenv"
    program: ClassVar[str] = "custom_steps.on_worker.virtualenv"
    needs: ClassVar[tuple[str, ...]] = ("custom_steps.parsing.uv_output", "custom_steps.parsing.requirements")
    defaults: ClassVar[dict[str, object]] = {"timeout": None, "maxTime": 1800}
    renderables: Sequence[str] = ["requirements", "packages", "python", "cache"]

    def __init__(
        self,
        requirements: object = ("requirements.txt",),
        *,
        packages: object = (),
        python: object = None,
        max_age_days: float = 14,
        cache: object = None,
        **kwargs: object,
    ) -> None:
        requirements = check_words("Virtualenv", "requirements", requirements)
        for path in requirements:
            check_relative("Virtualenv", "requirements", path)
        packages = check_words("Virtualenv", "packages", packages)
        for package in packages:
            if isinstance(package, str) and package.startswith("-"):
                config_error(f"Virtualenv: packages={package!r} is an option: options belong into a requirement file")
        renderable = python is None or IRenderable.providedBy(python)
        if not renderable and (not isinstance(python, str) or not python or python.startswith("-")):
            config_error(f"Virtualenv: python={python!r} must be a version such as '3.13', or a path")
        if check_positive("Virtualenv", "max_age_days", max_age_days) < 1:
            config_error("Virtualenv: max_age_days must be at least 1, or an environment could go while it is used")
        check_cache("Virtualenv", cache)
        super().__init__(**kwargs)
        self.requirements = requirements
        self.packages = packages
        self.python = python
        self.max_age_days = max_age_days
        self.cache = cache

    async def perform(self) -> int:
        """Make or find the environment."""
        report = await self.ask_worker(
            {
                "requirements": list(self.requirements),
                "packages": list(self.packages),
                "python": self.python or "",
                "max_age": self.max_age_days * 86400,
                "cache": self.cache or default_cache(self),
            }
        )
        self.note("virtualenv", report["path"])
        self.summarise(f"{'made' if report['made'] else 'reused'} a virtual environment with Python {report['python']}")
        return SUCCESS
