"""A plain git repository as a forge: ``git push origin HEAD:refs/for/main/fix-typo`` opens or updates a pull request.

Whoever may push there may delete the ref again, and thereby closes the pull request; that is how abandoned ones are
cleaned up: ``git push origin :refs/for/main/fix-typo``. The bot deletes landed ones, in the push that lands them.
"""

import logging
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime

from autogate.git import GitError
from autogate.gitwords import HEADS, ref_name_fault
from review_bot.domain.events import Comment, Snapshot
from review_bot.merging.errors import MirrorError
from review_bot.merging.mirror import Mirror
from review_bot.merging.parsing import Description

from .protocol import ForgeError, Known, Overview, ReadComment, RefDeletion

TOPICS = "refs/for/"
LONGEST_TITLE = 500

_log = logging.getLogger(__name__)


class GitForge:
    """One repository on a server that knows nothing of pull requests. It implements `Forge`.

    Args:
        mirror: The bot's copy of it.
        targets: The long-lived branches.
        now: Tells the time.
    """

    def __init__(
        self, mirror: Mirror, targets: Iterable[str], now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._mirror = mirror
        self._targets = tuple(targets)
        self._now = now
        self._described: Mapping[str, Description] = {}
        self._faults: Mapping[str, str] = {}

    @property
    def faults(self) -> Mapping[str, str]:
        """Topic refs that are no pull requests, as last seen -> what to do about each."""
        return self._faults

    async def overview(self, known: Sequence[Known]) -> Overview:  # noqa: ARG002  (the mirror knows what it has)
        """Read targets and topics in one connection, and fetch what is new in a second."""
        read_at = self._now()
        async with _as_forge_error():
            found = await self._mirror.refs([*(HEADS + target for target in self._targets), f"{TOPICS}*"])
            tips = {target: found[HEADS + target] for target in self._targets if HEADS + target in found}
            topics = {ref: head for ref, head in found.items() if ref.startswith(TOPICS)}
            described = await self._describe(topics.values(), tips)
        self._described = described
        faults = {ref: fault for ref, head in topics.items() if (fault := _topic_fault(ref, head, described))}
        for ref in sorted(faults.keys() - self._faults.keys()):
            _log.warning("%r is no pull request: %s", ref, faults[ref])
        self._faults = faults
        pulls = [
            self._snapshot(ref, head, described[head], read_at) for ref, head in topics.items() if ref not in faults
        ]
        return Overview(tips=tips, pulls=pulls)

    async def pull_request(self, known: Known) -> Snapshot | None:
        """Read one topic; None when it is deleted or no commit any more."""
        read_at = self._now()
        async with _as_forge_error():
            head = (await self._mirror.refs([_topic(known)])).get(known.source)
            described = await self._describe([head], {}) if head else {}
        return self._snapshot(known.source, head, described[head], read_at) if head in described else None

    async def comment(self, hint: Comment) -> ReadComment:
        """Return the comment as it is: it came through the bot's own API, whose token proved the author."""
        return ReadComment(comment=hint, may_write=False)

    def fetch_ref(self, known: Known) -> str:
        """Return the topic's ref."""
        return _topic(known)

    def landing_deletions(self, known: Known) -> Sequence[RefDeletion]:
        """Return the topic's ref, which goes in the push that lands it: a newer push to it makes that push fail."""
        return (RefDeletion(ref=_topic(known), expected=known.head),)

    async def reply(self, number: int, text: str) -> None:
        """Do nothing: a plain repository has no comments, and the API returns answers to whoever asked."""

    async def show_status(self, number: int, text: str) -> None:
        """Do nothing: ``autogate show`` asks the bot."""

    async def finalise(self, known: Known, landed_as: str) -> None:  # noqa: ARG002  (nobody to tell)
        """Delete the topic if it still stands at what landed."""
        async with _as_forge_error():
            await self._mirror.delete_ref(RefDeletion(ref=_topic(known), expected=known.head))

    async def _describe(self, heads: Iterable[str], tips: Mapping[str, str]) -> dict[str, Description]:
        heads = set(heads)
        described = {head: self._described[head] for head in heads if head in self._described}
        return described | dict(await self._mirror.describe(heads - described.keys(), tips))

    def _snapshot(self, ref: str, head: str, description: Description, read_at: datetime) -> Snapshot:
        return Snapshot(
            number=None,
            source=ref,
            target=target_of(ref, self._targets),
            head=head,
            title=description.title[:LONGEST_TITLE],
            author=description.author,
            read_at=read_at,
        )


def target_of(ref: str, targets: Iterable[str]) -> str:
    """Return the target of ``refs/for/<target>/<topic>``: the longest that fits, else the name's first part."""
    name = ref.removeprefix(TOPICS)
    fitting = [target for target in targets if name == target or name.startswith(f"{target}/")]
    return max(fitting, key=len, default=name.partition("/")[0])


def _topic(known: Known) -> str:
    if not known.source.startswith(TOPICS):
        raise ValueError(f"{known.source!r} is no ref below {TOPICS}")
    return known.source


def _topic_fault(ref: str, head: str, described: Mapping[str, Description]) -> str:
    if fault := ref_name_fault(ref):
        return f"its name {fault}; push it under another name, and delete this one"
    if head not in described:
        return f"it stands at {head}, which is no commit; push a commit there, or delete it"
    return ""


@asynccontextmanager
async def _as_forge_error() -> AsyncIterator[None]:
    try:
        yield
    except GitError as error:
        raise ForgeError(f"{error}; {error.cure}" if error.cure else str(error)) from error
    except MirrorError as error:
        raise ForgeError(str(error)) from error
