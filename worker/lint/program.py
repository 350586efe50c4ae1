"""The command ``autogate-lint``."""

import gc
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict

from .arguments import Options, parse
from .errors import NO_JUDGE, LintError
from .output import render
from .run import Run

INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Lint a change.

    Args:
        arguments: The words behind the program's name; those of the process by default.

    Returns:
        The exit status: 0 when the change passes, 1 when it does not, 2 for wrong use, 3 when a file was not judged.
    """
    gc.disable()  # the process is over before it would pay
    options = parse(sys.argv[1:] if arguments is None else arguments, os.environ)
    try:
        return _run(options)
    except LintError as error:
        _progress(str(error))
        return error.exit_code
    except BrokenPipeError:  # the reader has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return NO_JUDGE
    except KeyboardInterrupt:
        return INTERRUPTED


def _run(options: Options) -> int:
    run = Run(options, os.environ, os.getcwd(), _progress if options.progress else _nothing)
    if options.stop_server:
        run.stop_server()
        return 0
    if options.warm:
        cost = run.warm()
        _progress(
            f"warm at {run.change.base[:12]} after {cost.seconds:.1f} s: "
            f"{cost.files} files, {cost.linted} linted, {cost.cached} known"
        )
        return 0
    outcome = run.lint()
    if options.raw:
        _write_raw(options.raw, run)
    text = render(options.format, outcome, colour=_has_colour(options))
    if options.output is None:
        sys.stdout.buffer.write(text.encode())
        sys.stdout.buffer.flush()
    else:
        with open(options.output, "wb") as file:
            file.write(text.encode())
    return outcome.exit_code


def _write_raw(path: str, run: Run) -> None:
    import json  # noqa: PLC0415  (for measurements only)

    every = [
        {"linter": linter, "side": side, "path": path, **asdict(judgement)}
        for linter, judgements in run.judgements.items()
        for (side, path), judgement in judgements.items()
    ]
    with open(path, "w", encoding="ascii") as file:
        json.dump(every, file)


def _has_colour(options: Options) -> bool:
    if options.colour == "auto":
        return options.output is None and sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    return options.colour == "always"


def _progress(text: str) -> None:
    sys.stderr.write(f"autogate-lint: {text}\n")
    sys.stderr.flush()


def _nothing(_text: str) -> None:
    pass


if __name__ == "__main__":
    sys.exit(main())
