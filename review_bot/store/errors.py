"""What goes wrong with a database, and what to do about it."""

import re


class StoreError(Exception):
    """The database cannot be used, or refused. Nothing was changed. The message is ``FAULT: CURE``."""


class CorruptRowError(StoreError):
    """A row does not hold what belongs there."""


class LeaseLostError(Exception):
    """Another process leads: this one must do nothing more. Nothing was changed."""


_CURES = (
    # SQLite
    (re.compile(r"file is not a database|file is encrypted"), "this file is something else: name another in `url`"),
    (
        re.compile(r"readonly database|unable to open database file"),
        "the file and its folder must exist and be writable for the user that runs the bot",
    ),
    (
        re.compile(r"database is locked"),
        "another program keeps it locked, such as a backup or a shell: end that; the bot tries again",
    ),
    (re.compile(r"database or disk is full"), "make room on the disk; the bot tries again"),
    (re.compile(r"disk image is malformed"), "the file is damaged: put a backup in its place"),
    # PostgreSQL
    (
        re.compile(r"password authentication failed|no password supplied"),
        "name the secret with the right password as `secret`, or put the password into the user's .pgpass",
    ),
    (re.compile(r'role ".*" does not exist'), "make that role (`createuser`), or name another user in `url`"),
    (re.compile(r'database ".*" does not exist'), "make that database (`createdb`), or name another in `url`"),
    (re.compile(r"permission denied"), "let the database's user make and write tables: make it the database's owner"),
    (re.compile(r"read-only transaction"), "this server is a standby, or set to read only: name the primary in `url`"),
    (
        re.compile(
            r"[Cc]onnection (?:refused|timed out|timeout|reset)|timeout expired|server closed|terminating connection"
            r"|[Ff]ailed to resolve|could not translate host name|No route to host|Network is unreachable"
            r"|the connection is closed|the database system is|connection is lost"
        ),
        "is the server running, and is its address in `url` right? The bot tries again",
    ),
)


def cure(fault: str) -> str:
    """Return what to do about a database's complaint."""
    known = (text for pattern, text in _CURES if pattern.search(fault))
    return next(known, "look into the database's log")
