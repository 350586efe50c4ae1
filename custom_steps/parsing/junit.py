"""JUnit XML, written by a stranger's tests, read without trusting it."""

from xml.parsers import expat

from custom_steps.parsing.summary import MAX_EXCERPT, MAX_KEPT, Summary

MAX_BYTES = 64 * 1024 * 1024
MAX_DEPTH = 100
MAX_LINE_DIGITS = 7

_BAD = ("failure", "error")


class JUnitError(ValueError):
    """The report cannot be used; the message says why."""


def parse(content: bytes) -> Summary:
    """Read a report.

    Raises:
        JUnitError: it is no well-formed XML, has a document type (which could blow up to any size), is too large, too
            deep, or no JUnit report.
    """
    if len(content) > MAX_BYTES:
        raise JUnitError(f"is larger than {MAX_BYTES // 2**20} MiB")
    reader = _Reader()
    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartElementHandler = reader.start
    parser.EndElementHandler = reader.end
    parser.CharacterDataHandler = reader.text
    parser.StartDoctypeDeclHandler = _refuse_doctype
    try:
        parser.Parse(content, True)  # noqa: FBT003 - expat takes no keywords
    except expat.ExpatError as error:
        raise JUnitError(f"is no well-formed XML: {error}") from None
    except (ValueError, LookupError) as error:
        # An encoding that Python does not know, or that is no text encoding.
        raise error if isinstance(error, JUnitError) else JUnitError(f"cannot be read: {error}") from None
    return reader.summary


class _Reader:
    def __init__(self) -> None:
        self.summary = Summary(total=0)
        self._path: list[str] = []
        self._first_line = 1
        self._case: dict[str, str] | None = None
        self._bad: list[str] = []
        self._skipped = False
        self._text: list[str] | None = None
        self._kept = 0

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        tag = _local(tag)
        if not self._path and tag not in {"testsuite", "testsuites"}:
            raise JUnitError(f"is no JUnit report: it begins with <{tag[:80]}>")
        self._path.append(tag)
        if len(self._path) > MAX_DEPTH:
            raise JUnitError(f"is nested more than {MAX_DEPTH} deep")
        if tag == "testsuite":
            # pytest counts lines from 0.
            self._first_line = 0 if attributes.get("name") == "pytest" else 1
        elif tag == "testcase":
            self._case, self._bad, self._skipped = attributes, [], False
        elif self._case is not None and tag in _BAD:
            message = attributes.get("message") or attributes.get("type") or ""
            self._text, self._kept = [message[:MAX_EXCERPT], "\n"] if message else [], 0
        elif self._case is not None and tag == "skipped":
            self._skipped = True

    def end(self, tag: str) -> None:
        tag = _local(tag)
        self._path.pop()
        if tag in _BAD and self._text is not None:
            self._bad.append("".join(self._text))
            self._text = None
        elif tag == "testcase" and self._case is not None:
            self._finish(self._case)
            self._case = None

    def text(self, data: str) -> None:
        if self._text is None:
            return
        self._text.append(data)
        self._kept += len(data)
        if self._kept > 8 * MAX_EXCERPT:
            # The end says more than the beginning: that is where a traceback names the error.
            whole = "".join(self._text)[-MAX_EXCERPT:]
            self._text, self._kept = [whole], len(whole)

    def _finish(self, case: dict[str, str]) -> None:
        self.summary.total = (self.summary.total or 0) + 1
        if not self._bad:
            self.summary.skipped += self._skipped
            return
        self.summary.failed_total += 1
        if len(self.summary.failed) >= MAX_KEPT:
            return
        name, owner = case.get("name", ""), case.get("classname", "")
        self.summary.failed.append(
            {
                "name": f"{owner}.{name}" if owner and name else owner or name or "unnamed",
                "path": case.get("file", ""),
                "line": self._line(case.get("line", "")),
                "excerpt": "\n".join(self._bad).strip()[-MAX_EXCERPT:],
            }
        )

    def _line(self, text: str) -> int:
        """Return a line number from 1; 0 when unknown."""
        if not (text.isascii() and text.isdigit() and len(text) <= MAX_LINE_DIGITS):
            return 0
        return int(text) + 1 - self._first_line


def _refuse_doctype(*_: object) -> None:
    raise JUnitError("has a document type, which no test runner writes")


def _local(tag: str) -> str:
    return tag.rpartition(":")[2]
