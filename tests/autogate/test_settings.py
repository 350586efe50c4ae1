"""Bad input gets a clear message that says what to do, and never a traceback."""

import json
import tempfile
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autogate import settings
from autogate.places import Places
from autogate.settings import Repository, Settings, SettingsError, SiteFile, UnknownRepositoryError
from tests.support.installation import SITE, Installation

URL = 'url = "ssh://git@git.example.com/owner/shop.git"\n'


def problems(installation: Installation) -> list[str]:
    """Return every problem as it is printed, whether or not it stops everything."""
    try:
        return [str(problem) for problem in installation.load().problems]
    except SettingsError as error:
        return [str(problem) for problem in error.problems]


def test_the_least_that_is_right(installation: Installation) -> None:
    installation.write_repository("shop", URL)
    loaded = installation.load()
    shop = loaded.repository("shop")
    assert loaded.problems == ()
    assert (shop.targets, shop.auto, shop.try_branch) == (("main",), "auto", "try")
    assert shop.required_builders == ("shop-lint", "shop-test")
    assert shop.fetch_url == "ssh://autogate-shop/owner/shop.git"


@pytest.mark.parametrize(
    ("text", "key", "says"),
    [
        (URL + 'auot = "auto"', "auot", "did you mean 'auto'?"),
        (URL + "flavour = 3", "flavour", "there are: auto, batch, deploy"),
        (URL + "[lint]\nlimt = 8", "lint.limt", "did you mean 'limit'?"),
        (URL + "[lint]\nlimit = 11", "lint.limit", "less than or equal to 10, not 11"),
        (URL + '[lint]\nlimit = "high"', "lint.limit", "valid number"),
        (URL + '[lint]\nscope = "all"', "lint.scope", "'introduced', 'lines' or 'files'"),
        (URL + '[lint]\nalso = ["flake8"]', "lint.also.0", "'ruff'"),
        (URL + "[lint]\nfile_time = 0", "lint.file_time", "greater than 0"),
        (URL + '[lint]\nlink = "https://h/{commit}"', "lint.link", "write one like https://git.example.com/"),
        (URL + "poll_interval = 0", "poll_interval", "greater than or equal to 1, not 0"),
        (URL + "targets = []", "targets", "at least 1"),
        (URL + 'targets = "main"', "targets", "valid tuple, not 'main'"),
        (URL + "lint = true", "lint", "not True"),
        (URL + 'auto = "--upload-pack=x"', "auto", "starts with a dash"),
        (URL + 'targets = ["main", "--upload-pack=x"]', "targets", "starts with a dash"),
        (URL + 'try = "a..b"', "try", "contains '..'"),
        (URL + 'auto = "refs/heads/auto"', "auto", "without refs/heads/"),
        (URL + 'auto = "main"', "", "'main' is named twice"),
        (URL + "lint.enabled = false\ntest.enabled = false", "", "nothing would guard the branch"),
        (URL + 'name = "shop"', "name", "the file's own name says it"),
        (URL + "[deploy]\ncommand = []", "deploy.command", "at least 1"),
        (URL + '[deploy]\ncommand = ["x"]\n[deploy.secrets]\n"A B" = "t"', 'deploy.secrets."A B"', "not allowed"),
        (URL + '[python]\nversion = "2.7"', "python.version", "not allowed"),
        (URL + '[python]\nrequirements = ["-r x"]', "python.requirements.0", "not allowed"),
        ("", "url", "is missing; add it"),
        ('url = "ftp://x/y"', "url", "write for example ssh://git@"),
        ('url = "ssh://git@h/a b.git"', "url", "%20 for a space"),
        ("url = 3", "url", "valid string, not 3"),
        ("url = ", "", "is not TOML"),
        ("\x00", "", "is not TOML"),
        ("a = " + "[" * 5000, "", "nested too deeply"),
        ("a = " + "9" * 5000, "", "is not TOML"),
    ],
)
def test_a_bad_repository_is_reported_and_left_out(installation: Installation, text: str, key: str, says: str) -> None:
    installation.write_repository("good", 'url = "/srv/good.git"\n')
    path = installation.write_repository("shop", text)
    loaded = installation.load()
    assert [repository.name for repository in loaded.repositories] == ["good"]
    assert [problem.file for problem in loaded.problems] == [path]
    assert loaded.problems[0].key == key
    assert says in loaded.problems[0].message


@pytest.mark.parametrize(
    ("text", "key", "says"),
    [
        ("", "workers", "is missing; add it"),
        ("workers = []", "workers", "add a [[workers]] table"),
        (SITE + SITE, "workers", "two workers are called 'worker-1'"),
        (SITE.replace("worker-1", "worker 1"), "workers.0.name", "not allowed"),
        (SITE.replace("secret", "secrte"), "workers.0.secrte", "did you mean 'secret'?"),
        (SITE + "[web]\nport = 70000", "web.port", "less than or equal to 65535"),
        (SITE + '[web]\nadmins = ["eve"]', "web", "add a line there"),
        (SITE + '[site]\nurl = "localhost"', "site.url", "valid URL"),
        (SITE + '[bot]\nurl = "http://bot/"', "bot.secret", "is missing"),
        (SITE + '[bot]\nurl = "http://bot/"\nsecret = "s"\nprotocol = "smtp"', "bot.protocol", "'autogate' or 'homu'"),
        (SITE + '[database]\nurl = "mysql://x/y"', "database.url", "not allowed"),
    ],
)
def test_a_bad_site_stops_everything(installation: Installation, text: str, key: str, says: str) -> None:
    installation.write_site(text)
    with pytest.raises(SettingsError) as caught:
        installation.load()
    found = {problem.key: problem.message for problem in caught.value.problems}
    assert says in found[key]
    assert str(installation.places.site_file) in str(caught.value)


def test_all_faults_of_all_files_are_named_at_once(installation: Installation) -> None:
    installation.write_site("colour = 1\n[web]\nport = 0\n")
    installation.write_repository("a", "url = 1\nbranch = 2\n")
    installation.write_repository("b", "url = [")
    with pytest.raises(SettingsError) as caught:
        installation.load()
    named = {(problem.file.name, problem.key) for problem in caught.value.problems}
    assert named == {
        ("autogate.toml", "workers"),
        ("autogate.toml", "colour"),
        ("autogate.toml", "web.port"),
        ("a.toml", "url"),
        ("a.toml", "branch"),
        ("b.toml", ""),
    }


@pytest.mark.parametrize("name", ["Shop", "2shop", "-shop", "_shop", "sh.op", "sh op", "a" * 41, "--upload-pack=x"])
def test_a_name_that_is_no_identifier(installation: Installation, name: str) -> None:
    installation.write_repository(name, URL)
    (problem,) = installation.load().problems
    assert repr(name) in problem.message
    assert "rename the file" in problem.message


def test_two_files_with_one_url(installation: Installation) -> None:
    installation.write_repository("a", 'url = "git@git.example.com:owner/shop.git"')
    installation.write_repository("b", 'url = "ssh://git@GIT.example.com/owner/shop.git"')
    loaded = installation.load()
    assert [repository.name for repository in loaded.repositories] == ["a"]
    assert "also the url of 'a'" in loaded.problems[0].message


def test_files_that_cannot_be_read(installation: Installation) -> None:
    (installation.places.repositories / "folder.toml").mkdir()
    (installation.places.repositories / "latin.toml").write_bytes(b'url = "\xe9"')
    (installation.places.repositories / "link.toml").symlink_to("nowhere")
    messages = {problem.file.stem: problem.message for problem in installation.load().problems}
    assert messages["folder"].startswith("cannot be read")
    assert "save it as UTF-8" in messages["latin"]
    assert "is missing" in messages["link"]


def test_what_is_no_repository_is_passed_over(installation: Installation) -> None:
    (installation.places.repositories / ".#shop.toml").symlink_to("ada@host.1:2")  # an editor's lock
    (installation.places.repositories / "shop.toml.bak").write_text("url = 1")
    assert installation.load() == Settings(installation.load().site)


def test_a_byte_order_mark_is_no_fault(installation: Installation) -> None:
    (installation.places.repositories / "shop.toml").write_bytes(b"\xef\xbb\xbf" + URL.encode())
    assert installation.load().problems == ()


def test_a_missing_folder_names_the_cure(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="is missing; copy the example, or point AUTOGATE_CONFIG"):
        settings.load(Places(tmp_path / "no", tmp_path, tmp_path))


def test_repositories_that_are_no_folder(installation: Installation) -> None:
    installation.places.repositories.rmdir()
    installation.places.repositories.write_text("")
    assert "cannot be read" in problems(installation)[0]


def test_an_unknown_repository_is_told_with_those_that_there_are(installation: Installation) -> None:
    installation.write_repository("shop", URL)
    installation.write_repository("broken", "url = 1")
    loaded = installation.load()
    with pytest.raises(KeyError, match=r"^no repository is called 'shpo' in repos.d/; there are: shop$"):
        loaded.repository("shpo")
    with pytest.raises(UnknownRepositoryError, match=r"broken\.toml: url: .*valid string"):
        loaded.repository("broken")


HIDDEN = "hunter2-hunter2"


@pytest.mark.parametrize(
    "url",
    [
        f"https://ada:{HIDDEN}@git.example.com/r.git",
        f"https://{HIDDEN}@git.example.com/r.git",
        f"https://ada:x/{HIDDEN}@git.example.com/r.git",
        f"https://ada:x@{HIDDEN}@git.example.com/r.git",
        f"https://ada:x#{HIDDEN}@git.example.com/r.git",
        f"https://git.example.com/r.git?token={HIDDEN}",
        f"https://ada:\N{FULLWIDTH COLON}{HIDDEN}@git.example.com/r.git",
        f"ssh://git:{HIDDEN}@git.example.com/r.git",
        f"ssh://git%3A{HIDDEN}@git.example.com/r.git",
        f"git:{HIDDEN}@git.example.com:r.git",
        f"ssh://[{HIDDEN}/r.git",
        f"ada:{HIDDEN} @git.example.com:r.git",
    ],
)
def test_a_password_in_a_url_is_refused_and_never_repeated(installation: Installation, url: str) -> None:
    installation.write_repository("shop", f"url = {json.dumps(url, ensure_ascii=False)}")
    (said,) = problems(installation)
    assert HIDDEN not in said
    assert "url: " in said


@pytest.mark.parametrize(
    "text",
    [
        f'secret = "{HIDDEN}!"',
        f'secret = "{HIDDEN} with spaces"',
        f'secret = ["{HIDDEN}"]',
        f'secret = {{ value = "{HIDDEN}" }}',
        f'password = "{HIDDEN}"',
        f'secret = "s"\n[web.users]\nada = ["{HIDDEN}"]',
        f'secret = "s"\n[web]\npoke_secret = ["{HIDDEN}"]',
        f'secret = "s"\n[database]\nurl = "postgresql://ada:{HIDDEN}@db/x"',
        f'secret = "s"\n[database]\nurl = "postgresql://ada:x/{HIDDEN}@db/x"',
        f'secret = "s"\n[database]\nurl = "postgresql:///x?user=ada&password={HIDDEN}"',
        f'secret = "s"\n[database]\nurl = "mysql://ada:{HIDDEN}@db/x"',
        f'secret = "s"\n[bot]\nsecret = "s"\nurl = "https://ada:{HIDDEN}@bot/"',
        f'secret = "s"\n[bot]\nsecret = "s"\nurl = "https://ada:{HIDDEN}@bot:x/"',
        f'secret = "s"\n[site]\nurl = "https://{HIDDEN}@site/"',
    ],
)
def test_a_secret_in_the_wrong_place_is_refused_and_never_repeated(installation: Installation, text: str) -> None:
    installation.write_site(f'[[workers]]\nname = "w"\n{text}\n')
    said = problems(installation)
    assert said
    assert HIDDEN not in "\n".join(said)


def test_databases_without_a_password(installation: Installation) -> None:
    for url in ("sqlite:////srv/a:b@c/state.sqlite", "postgresql://ada@db:5432/x", "postgresql+psycopg2://db/x"):
        installation.write_site(f'{SITE}[database]\nurl = "{url}"\n')
        assert installation.load().site.database.url == url


def test_every_named_secret_once_with_all_it_is_for(installation: Installation) -> None:
    installation.write_site(
        SITE
        + '[web]\npoke_secret = "poke"\n[web.users]\nada = "ada"\n[bot]\nurl = "http://b/"\nsecret = "shared"\n'
        + '[database]\nurl = "postgresql://db/x"\nsecret = "db"\n'
    )
    installation.write_repository("shop", URL + '[deploy]\ncommand = ["x"]\nsecrets = { A = "token", B = "shared" }')
    named = {secret.name: secret for secret in installation.load().secrets}
    assert list(named) == ["ada", "poke", "db", "shared", "worker_password", "token"]
    assert [name for name, secret in named.items() if secret.given] == ["shared", "token"]
    assert named["shared"].purpose == "shared by master and bot; B of 'shop' when it is deployed"


def test_the_schemas_accept_what_load_accepts(installation: Installation) -> None:
    site, repository = settings.json_schema(SiteFile), settings.json_schema(Repository)
    for schema in (site, repository):
        jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate({"workers": [{"name": "w", "secret": "s"}]}, site)
    jsonschema.validate({"url": "/srv/x.git", "try": "trial", "lint": {"limit": 9}}, repository)
    for wrong in ({"url": "/srv/x.git", "try_branch": "t"}, {"url": "/srv/x.git", "name": "x"}, {}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(wrong, repository)


class Raw(str):
    """TOML as it stands, such as a date."""

    __slots__ = ()


# Arbitrary TOML: tables whose keys are often the right ones, with values of any type.

KEYS = st.sampled_from(
    [
        *(name for model in (SiteFile, Repository, settings.Web, settings.Bot) for name in model.model_fields),
        *("try", "name", "secret", "users", "lint", "limit", "command", "secrets", "enabled", "version"),
    ]
) | st.text(max_size=8)
SCALARS = (
    st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(["2020-01-01", "07:30:00", "1979-05-27T07:32:00Z"]).map(Raw)
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4), max_leaves=12
)


def toml(value: Any) -> str:
    """Write a value as inline TOML."""
    match value:
        case Raw():
            return str(value)
        case bool() | int():
            return str(value).lower()
        case float():
            return repr(value)
        case str():
            return json.dumps(value.encode("utf-8", "replace").decode(), ensure_ascii=False).replace("\x7f", "\\u007f")
        case list():
            return f"[{', '.join(map(toml, value))}]"
        case _:
            return "{" + ", ".join(f"{toml(key)} = {toml(inner)}" for key, inner in value.items()) + "}"


TABLES = st.dictionaries(KEYS, VALUES, max_size=6).map(
    lambda table: "\n".join(f"{toml(key)} = {toml(value)}" for key, value in table.items())
)


@pytest.fixture(scope="module")
def scratch() -> Iterator[Installation]:
    with tempfile.TemporaryDirectory() as folder:
        yield Installation(Path(folder))


@given(site=TABLES | st.text(), repository=TABLES | st.text())
def test_no_input_makes_load_raise_anything_else(scratch: Installation, site: str, repository: str) -> None:
    for text in (site, SITE + site, SITE):
        scratch.places.site_file.write_bytes(text.encode("utf-8", "surrogatepass"))
        path = scratch.places.repositories / "shop.toml"
        for content in (repository, URL + repository):
            path.write_bytes(content.encode("utf-8", "surrogatepass"))
            for problem in problems(scratch):
                assert len(problem.splitlines()) == 1


@given(table=TABLES)
def test_the_tables_are_toml(table: str) -> None:
    """Else the test above would only ever see syntax errors."""
    tomllib.loads(table)
