"""The merges of an attempt, made in the bare repository without a work tree."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from autogate.git import GitError
from review_bot.domain.effects import MakeCandidate
from review_bot.domain.events import CandidateMade, Conflict, Merged
from review_bot.domain.model import Member

from . import parsing
from .bare import Bare, checked
from .message import merge_message

_NO = 1
"""Git's exit code for "it conflicts" and "there is none"; anything higher is a fault."""


@dataclass(frozen=True)
class Identity:
    """Who makes the merge commits."""

    name: str
    email: str


@dataclass(frozen=True)
class Candidate:
    """What came of making a candidate; the fields are those of `CandidateMade`."""

    attempt: int
    base: str
    sha: str | None
    merged: tuple[Merged, ...]
    conflicts: tuple[Conflict, ...]
    contained: tuple[int, ...]
    moved: tuple[int, ...]

    def event(self, at: datetime) -> CandidateMade:
        """Return it as the event."""
        return CandidateMade(at=at, **vars(self))


@dataclass(frozen=True)
class Merger:
    """Makes merges.

    Attributes:
        bare: Where.
        identity: Who makes the merge commits.
    """

    bare: Bare
    identity: Identity

    async def merge(self, effect: MakeCandidate, base: str, members: Sequence[Member]) -> Candidate:
        """Merge ``members``, whose heads are here, onto ``base``; the other members of ``effect`` have moved."""
        chain = base
        merged: list[Merged] = []
        conflicts: list[Conflict] = []
        contained: list[int] = []
        for member in members:
            common = await self._merge_base(base, member.head)
            if common == member.head:
                contained.append(member.number)
            elif common is None:
                conflicts.append(Conflict(number=member.number, paths=(), with_base=True))
            elif isinstance(tree := await self._merge_tree(chain, member.head), tuple):
                conflicts.append(await self._explain(base, merged, member, tree))
            elif member.head == chain:
                # git drops the second of two equal parents, and what is left is no merge
                conflicts.append(
                    Conflict(number=member.number, paths=(), with_base=False, with_member=merged[-1].number)
                )
            else:
                chain = await self._commit(effect, member, base, tree, chain)
                merged.append(
                    Merged(number=member.number, merge=chain, paths=await self._changed_paths(common, member.head))
                )
        there = {member.number for member in members}
        return Candidate(
            attempt=effect.attempt,
            base=base,
            sha=chain if merged else None,
            merged=tuple(merged),
            conflicts=tuple(conflicts),
            contained=tuple(contained),
            moved=tuple(member.number for member in effect.members if member.number not in there),
        )

    async def _explain(self, base: str, merged: Sequence[Merged], member: Member, paths: tuple[str, ...]) -> Conflict:
        """Find the first merge of the chain that the member conflicts with; before them all comes the base."""
        if isinstance(with_base := await self._merge_tree(base, member.head), tuple):
            return Conflict(number=member.number, paths=with_base, with_base=True)
        for earlier in merged[:-1]:
            if isinstance(found := await self._merge_tree(earlier.merge, member.head), tuple):
                return Conflict(number=member.number, paths=found, with_base=False, with_member=earlier.number)
        return Conflict(number=member.number, paths=paths, with_base=False, with_member=merged[-1].number)

    async def _merge_tree(self, ours: str, theirs: str) -> str | tuple[str, ...]:
        """Return the merged tree, or the paths that conflict."""
        try:
            out = await self.bare.run("merge-tree", "--write-tree", "-z", "--messages", ours, theirs)
        except GitError as error:
            if error.code != _NO or not error.out:
                raise
            return parsing.conflicting_paths(error.out)
        return checked(out.split(b"\0")[0].decode("ascii").strip())[0]

    async def _merge_base(self, one: str, other: str) -> str | None:
        try:
            return (await self.bare.run("merge-base", one, other)).decode("ascii").strip()
        except GitError as error:
            if error.code != _NO or error.stderr:
                raise
            return None

    async def _commit(self, effect: MakeCandidate, member: Member, base: str, tree: str, chain: str) -> str:
        date = f"@{int(effect.at.timestamp())} +0000"
        out = await self.bare.run(
            *("commit-tree", "-p", chain, "-p", member.head, tree),
            stdin=merge_message(effect, member, base),
            env={
                f"GIT_{role}_{what}": value
                for role in ("AUTHOR", "COMMITTER")
                for what, value in (("NAME", self.identity.name), ("EMAIL", self.identity.email), ("DATE", date))
            },
        )
        return checked(out.decode("ascii").strip())[0]

    async def _changed_paths(self, before: str, after: str) -> tuple[str, ...]:
        return parsing.names(
            await self.bare.run("diff-tree", "-r", "-z", "--name-only", "--no-renames", before, after, "--")
        )
