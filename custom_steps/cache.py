"""Where on the worker the steps keep what outlives a build."""

from buildbot.config.errors import error as config_error
from buildbot.interfaces import IRenderable
from buildbot.process.buildstep import BuildStep

FOLDER = "autogate-cache"


def default_cache(step: BuildStep) -> str:
    """Return the cache's folder in the base directory of the step's worker."""
    assert step.worker is not None  # noqa: S101 - a step that runs has one
    return f"{step.worker.worker_basedir}/{FOLDER}"


def check_cache(step: str, cache: object) -> None:
    """Refuse, when the master reads its configuration, a cache that is no absolute path."""
    if cache is not None and not IRenderable.providedBy(cache) and not (isinstance(cache, str) and cache[:1] == "/"):
        config_error(f"{step}: cache={cache!r} must be an absolute path on the worker")
