"""Secrets, as Docker, Kubernetes and systemd put them."""

import os
from pathlib import Path

import pytest

from autogate.secretstore import SecretMissingError, SecretStore, variable_name


@pytest.mark.parametrize("mode", [0o400, 0o444, 0o600, 0o644, 0o666])
def test_any_mode_is_fine(tmp_path: Path, mode: int) -> None:
    (tmp_path / "token").write_text("s3cret\n")
    (tmp_path / "token").chmod(mode)
    assert SecretStore(tmp_path, {}).get("token") == "s3cret"


def test_kubernetes_puts_secrets_behind_symbolic_links(tmp_path: Path) -> None:
    version = tmp_path / "..2026_01_01"
    version.mkdir()
    (version / "token").write_text("first")
    (tmp_path / "..data").symlink_to(version.name)
    (tmp_path / "token").symlink_to("..data/token")
    store = SecretStore(tmp_path, {})
    assert store.get("token") == "first"
    (tmp_path / "..2026_01_02").mkdir()
    (tmp_path / "..2026_01_02" / "token").write_text("second")
    (tmp_path / "..new").symlink_to("..2026_01_02")
    (tmp_path / "..new").replace(tmp_path / "..data")
    assert store.get("token") == "second"


@pytest.mark.parametrize(("content", "value"), [("a\n", "a"), ("a\r\n", "a"), (" a b ", " a b "), ("a\nb\n", "a\nb")])
def test_only_the_newline_at_the_end_is_dropped(tmp_path: Path, content: str, value: str) -> None:
    (tmp_path / "x").write_text(content)
    assert SecretStore(tmp_path, {}).get("x") == value


def test_a_variable_stands_in_for_a_file_and_never_for_one_that_is_there(tmp_path: Path) -> None:
    environ = {"AUTOGATE_SECRET_WEB_ADMIN": "from the environment"}
    store = SecretStore(tmp_path, environ)
    assert variable_name("web.admin") == "AUTOGATE_SECRET_WEB_ADMIN"
    assert store.get("web-admin") == "from the environment"
    (tmp_path / "web-admin").write_text("from a file")
    assert store.get("web-admin") == "from a file"


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda path: None, "is missing: write it to the file {path} or set AUTOGATE_SECRET_TOKEN"),
        (lambda path: path.write_text("\n"), "is empty: write it to the file {path}"),
        (lambda path: path.mkdir(), "cannot be read (Is a directory): make {path} a text file"),
        (lambda path: path.write_bytes(b"\xff\xfe"), "cannot be read (not UTF-8 text)"),
        (lambda path: path.symlink_to("nowhere"), "is missing"),
    ],
)
def test_a_secret_that_cannot_be_had_says_where_it_belongs(tmp_path: Path, make: object, says: str) -> None:
    path = tmp_path / "token"
    assert callable(make)
    make(path)
    with pytest.raises(SecretMissingError) as caught:
        SecretStore(tmp_path, {}).get("token")
    assert says.format(path=path) in str(caught.value)


@pytest.mark.parametrize("name", ["", "../token", "a/b", ".hidden", "a\0b", "a b", "x" * 65])
def test_a_name_that_leads_elsewhere_is_none(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="is not the name of a secret"):
        SecretStore(tmp_path, dict(os.environ)).get(name)
