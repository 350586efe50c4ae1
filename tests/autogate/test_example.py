"""The example configuration that the README walks through, and the secrets that docker-compose.yml mounts."""

import shutil
import stat
import subprocess
from pathlib import Path

from autogate.places import Places
from autogate.settings import Repository, load

ROOT = Path(__file__).parents[2]


def example(folder: Path) -> Places:
    """Return a copy of the example with the secrets that a user would make."""
    shutil.copytree(ROOT / "config", folder / "config")
    (folder / "deploy").mkdir()
    shutil.copy(ROOT / "deploy" / "make-secrets", folder / "deploy" / "make-secrets")
    make_secrets(folder)
    return Places(folder / "config", folder / "secrets", folder / "var")


def make_secrets(folder: Path) -> str:
    command = [str(folder / "deploy" / "make-secrets")]
    return subprocess.run(command, cwd="/", capture_output=True, text=True, check=True).stdout


def test_the_example_is_right_and_has_no_repository(tmp_path: Path) -> None:
    settings = load(example(tmp_path))
    assert settings.problems == ()
    assert settings.repositories == ()


def test_the_sample_repository_is_right_and_says_the_defaults(tmp_path: Path) -> None:
    places = example(tmp_path)
    (places.repositories / "example.toml.sample").rename(places.repositories / "shop.toml")
    settings = load(places)
    assert settings.problems == ()
    (shop,) = settings.repositories
    assert shop == Repository(name="shop", url=shop.url)


def test_every_secret_that_the_example_names_is_made(tmp_path: Path) -> None:
    places = example(tmp_path)
    named = {secret.name for secret in load(places).secrets}
    made = {path.name for path in places.secrets.iterdir() if path.is_file()}
    assert named == made


def test_secrets_are_random_and_nobody_else_gets_at_them(tmp_path: Path) -> None:
    places = example(tmp_path)
    values = [path.read_text() for path in places.secrets.iterdir() if path.is_file()]
    assert len(set(values)) == len(values)
    assert all(len(value) == 48 for value in values)
    assert stat.S_IMODE(places.secrets.stat().st_mode) == 0o700


def test_a_secret_that_is_there_is_never_changed_and_an_empty_one_is_made(tmp_path: Path) -> None:
    places = example(tmp_path)
    (places.secrets / "bot_secret").write_text("my own")
    (places.secrets / "poke_secret").write_text("")
    before = (places.secrets / "db_password").read_text()
    assert "made 1 new" in make_secrets(tmp_path)
    assert (places.secrets / "bot_secret").read_text() == "my own"
    assert (places.secrets / "poke_secret").read_text()
    assert (places.secrets / "db_password").read_text() == before
