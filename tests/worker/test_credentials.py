"""No secret of the worker is left where a build could see it."""

from pathlib import Path

import pytest

from autogate.places import Places
from autogate.secretstore import SecretMissingError
from worker.credentials import take_password


def places(tmp_path: Path) -> Places:
    return Places(tmp_path / "config", tmp_path / "secrets", tmp_path / "state")


def test_the_password_comes_from_the_file(tmp_path: Path) -> None:
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "worker_password").write_text("from file\n")
    assert take_password(places(tmp_path), {"AUTOGATE_SECRET_WORKER_PASSWORD": "from variable"}) == "from file"


def test_every_secret_variable_is_gone_afterwards(tmp_path: Path) -> None:
    environ = {
        "AUTOGATE_SECRET_WORKER_PASSWORD": "hush",
        "AUTOGATE_SECRET_ANOTHER": "hush, too",
        "AUTOGATE_SECRETS": "/run/secrets",
        "PATH": "/bin",
    }
    assert take_password(places(tmp_path), environ) == "hush"
    assert environ == {"AUTOGATE_SECRETS": "/run/secrets", "PATH": "/bin"}


def test_a_missing_password_says_where_to_write_it(tmp_path: Path) -> None:
    with pytest.raises(SecretMissingError, match=r"secrets/worker_password or set AUTOGATE_SECRET_WORKER_PASSWORD"):
        take_password(places(tmp_path), {})
