"""Errors that a user can mend become a line that says how, never a traceback."""

import errno
import subprocess
from typing import Any

import typer
from typer.core import TyperGroup

from autogate.git import GitError
from autogate.secretstore import SecretMissingError
from autogate.settings import SettingsError, UnknownRepositoryError

from . import console

_CURES = {
    errno.EACCES: "run this as the user who owns it, or give this user the right",
    errno.EPERM: "run this as the user who owns it",
    errno.EROFS: "it is mounted read-only here; run this where it can be written",
    errno.ENOSPC: "make room on the disk",
    errno.EADDRINUSE: "another program listens there; choose another --port",
    errno.EADDRNOTAVAIL: "this machine has no such address; choose another --host",
}

_PACKAGES = {
    "git": "apt-get install git",
    "python3": "apt-get install python3",
    "uv": "pip install uv",
    **dict.fromkeys(("ssh", "ssh-keygen", "ssh-keyscan"), "apt-get install openssh-client"),
}


class Failure(Exception):  # noqa: N818  (it is what the user is told, not what a caller handles)
    """Something that the user can mend.

    Args:
        message: What is wrong.
        cure: What to do about it.
    """

    def __init__(self, message: str, cure: str = "") -> None:
        super().__init__(message)
        self.cure = cure


class Commands(TyperGroup):
    """A group of commands that prints expected errors in a line each and ends with exit code 1."""

    def invoke(self, ctx: Any) -> Any:  # noqa: ANN401  (typer keeps its Context's class to itself)
        """Run the chosen command."""
        try:
            return super().invoke(ctx)
        except SettingsError as error:
            for problem in error.problems:
                console.fail(str(problem))
        except Failure as failure:
            console.fail(str(failure), failure.cure)
        except GitError as error:
            console.fail(str(error), error.cure)
        except (SecretMissingError, UnknownRepositoryError) as error:
            console.fail(str(error))
        except BrokenPipeError:
            raise  # the reader of a pipe has gone: typer ends quietly
        except subprocess.TimeoutExpired as error:
            console.fail(f"{error.cmd[0]} gave no answer within {error.timeout:g} s")
        except OSError as error:
            console.fail(describe(error), cure(error))
        raise typer.Exit(1)


def describe(error: OSError) -> str:
    """Return what the system says about an error, in a line."""
    said = error.strerror or str(error)
    return f"{error.filename}: {said}" if error.filename is not None else said


def cure(error: OSError) -> str:
    """Return what to do about an error of the system, or an empty string."""
    if isinstance(error, FileNotFoundError) and error.filename in _PACKAGES:
        return f"install it: {package(error.filename)}"
    return _CURES.get(error.errno or 0, "")


def package(program: str) -> str:
    """Return how a program that Autogate needs is installed."""
    return _PACKAGES[program]
