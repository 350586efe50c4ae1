"""Outcomes of the lint program for tests."""

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from worker.lint.model import FOR_TIME, Figures, Finding, LeftOut, Message, Outcome, Score, Severity, Side, Trouble

PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
"""For a machine that others use, too."""

# what git and files hold: bytes that need not be UTF-8
WORDS = st.binary(max_size=20).map(lambda content: content.decode("utf-8", "surrogateescape")) | st.text(max_size=20)
PATHS = WORDS.map(lambda path: path.lstrip("/")).filter(bool)
NUMBERS = st.integers(0, 10**6)
SECONDS = st.floats(0, 10**6)
MESSAGES = st.builds(
    Message,
    path=PATHS,
    line=st.integers(1, 10**6),
    column=NUMBERS,
    end_line=st.none() | NUMBERS,
    end_column=st.none() | NUMBERS,
    symbol=WORDS,
    code=WORDS,
    severity=st.sampled_from(Severity),
    text=WORDS,
    scope=WORDS,
    whole=st.booleans(),
    linter=st.sampled_from(["pylint", "ruff", "autogate"]),
)
OUTCOMES = st.builds(
    Outcome,
    scope=st.sampled_from(["introduced", "lines", "files"]),
    base=WORDS,
    findings=st.lists(
        st.builds(Finding, message=MESSAGES, source=WORDS, fails=st.booleans(), dependent=st.booleans()), max_size=3
    ).map(tuple),
    fixed=st.lists(MESSAGES, max_size=2).map(tuple),
    old=NUMBERS,
    scores=st.lists(st.builds(Score, path=PATHS, score=st.floats(-100, 10), limit=st.floats(-100, 10)), max_size=2).map(
        tuple
    ),
    troubles=st.lists(
        st.builds(Trouble, path=PATHS, side=st.sampled_from(Side), error=WORDS, infrastructure=st.booleans()),
        max_size=2,
    ).map(tuple),
    left_out=st.lists(st.builds(LeftOut, path=PATHS, reason=WORDS), max_size=2).map(tuple),
    notes=st.lists(WORDS, max_size=2).map(tuple),
    figures=st.builds(
        Figures,
        files=NUMBERS,
        dependents=NUMBERS,
        linted=NUMBERS,
        cached=NUMBERS,
        seconds=SECONDS,
        server=st.sampled_from(["warm", "started", "none", "unused"]),
        server_seconds=SECONDS,
    ),
)


def message(
    path: str = "shop/cart.py",
    line: int = 1,
    column: int = 0,
    end: int | None = None,
    symbol: str = "undefined-variable",
    severity: Severity = Severity.ERROR,
    text: str = "Undefined variable 'totl'",
    *,
    scope: str = "",
    whole: bool = False,
    linter: str = "pylint",
) -> Message:
    """Return a message that ends on the line on which it begins."""
    code = f"{severity[0].upper()}0001"
    end_line = None if end is None else line
    return Message(path, line, column, end_line, end, symbol, code, severity, text, scope, whole, linter)


ALL = Outcome(
    "introduced",
    "0123abc",
    findings=(
        Finding(message(line=12, column=11, end=15, scope="Cart.total"), "    return totl + 1"),
        Finding(
            message(line=3, end=9, symbol="unused-import", severity=Severity.WARNING, text="Unused import os"),
            "import os",
            fails=False,
        ),
        Finding(
            message("shop/till.py", 7, 5, 9, "no-member", Severity.ERROR, "Class 'Cart' has no 'totl' member"),
            "cart.totl()",
            dependent=True,
        ),
        Finding(
            message(
                "shop/audit.py", 1, 0, None, "new-suppression", Severity.WARNING, "Switches off: all", linter="autogate"
            ),
            "# pylint: disable=all",
        ),
    ),
    fixed=(message("shop/cart.py", 8),),
    old=14,
    scores=(Score("shop/cart.py", 6.25, 8.0), Score("shop/audit.py", 9.5, 8.0)),
    troubles=(
        Trouble("shop/deep.py", Side.AFTER, "pylint took longer than 120 s; --file-time gives it more"),
        Trouble("shop/deep.py", Side.BEFORE, "pylint was killed", infrastructure=True),
    ),
    left_out=tuple(LeftOut(f"shop/use{number}.py", FOR_TIME) for number in range(12)),
    notes=("pylint's configuration was read from the base.",),
    figures=Figures(2, 1, 5, 9, 1.234, "started", 3.21),
)
"""One of everything."""
