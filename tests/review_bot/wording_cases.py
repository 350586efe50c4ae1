"""Everything that the bot says, on one page that reads like what people see.

`python -m tests.review_bot.wording_cases` writes the page; a test holds that it is right.
"""

from pathlib import Path

from review_bot import wording
from review_bot.domain.answers import Answer, Done, Help, Pong, Refused, Unknown
from tests.review_bot.situations import situations

PAGE = Path(__file__).with_name("wording.snapshot.md")
BOT = "autogate"
HEAD = "0123456789abcdef0123456789abcdef01234567"

DONE = {
    "r+": HEAD,
    "r=": HEAD,
    "r-": "",
    "p": "5",
    "rollup": "never",
    "try": HEAD,
    "try-": "",
    "retry": "",
    "cancel": "",
    "delegate": "eve",
    "delegate-": "",
    "treeclosed": "100",
    "treeclosed-": "",
}
REFUSED = {
    "not_permitted": ("r+", "mallory"),
    "head_moved": ("r+", HEAD),
    "wrong_sha": ("r+", HEAD),
    "short_sha": ("r+", HEAD),
    "closed": ("@autogate r+", ""),
    "unknown_target": ("r+", "legacy"),
    "nothing_to_retry": ("retry", ""),
    "nothing_to_cancel": ("cancel", ""),
    "no_try": ("try-", ""),
    "no_author": ("delegate+", "Eve <eve@example.com>"),
    "not_approved": ("r-", ""),
    "withdrawn": ("r+", ""),
    "landing": ("cancel", ""),
}
ANSWERS: tuple[Answer, ...] = (
    *(Done(command=command, detail=detail) for command, detail in DONE.items()),
    Done(command="rollup", detail="maybe"),
    Done(command="rollup", detail="always"),
    *(Refused(command=command, reason=reason, detail=detail) for reason, (command, detail) in REFUSED.items()),
    Unknown(word="bananas"),
    Unknown(word="lgtm", instead="r+"),
    Unknown(word="squash", instead="git rebase --interactive"),
    Pong(),
    Help(),
)


def page() -> str:
    """Return the page."""
    parts = ["# What the bot says", "Plain text first, then Markdown as it stands in a comment."]
    for name, seen in situations():
        plain, comment = (
            wording.status(seen.state, seen.pull, seen.attempts, seen.troubles, markdown=markdown)
            for markdown in (False, True)
        )
        parts += [f"## {name}", _block(plain), comment]
    parts.append("# What it answers")
    for answer in ANSWERS:
        parts += [f"## {_title(answer)}", _block(wording.answer(answer)), wording.answer(answer, BOT)]
    return "\n\n".join(parts) + "\n"


def _title(answer: Answer) -> str:
    return ", ".join(str(value) for value in answer.model_dump().values() if value)


def _block(text: str) -> str:
    return f"``````text\n{text}\n``````"


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
