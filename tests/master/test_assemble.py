"""The whole configuration, from TOML files to what Buildbot accepts."""

import re
from pathlib import Path
from typing import Any

import pytest
from buildbot.config.errors import ConfigErrors
from buildbot.config.master import MasterConfig

from autogate.places import Places
from master.configure import configure
from master.reporting.options import Options

SITE = """
[site]
url = "https://ci.example.com/"
[web]
users = { ada = "web_ada", bob = "web_bob" }
admins = ["ada"]
poke_secret = "poke"
badges = true
[bot]
url = "http://bot.example.com:8080/buildbot"
secret = "bot"
[[workers]]
name = "worker-1"
secret = "worker_1"
[[workers]]
name = "worker-2"
secret = "worker_2"
"""

SECRETS = ("web_ada", "web_bob", "poke", "bot", "worker_1", "worker_2")

SHOP = """
url = "git@git.example.com:acme/shop.git"
targets = ["main", "stable"]
[python]
requirements = ["requirements.txt"]
[lint]
limit = 9
[deploy]
command = ["./deploy", "now"]
secrets = { TOKEN = "shop_token" }
"""


@pytest.fixture
def places(tmp_path: Path) -> Places:
    places = Places(tmp_path / "config", tmp_path / "secrets", tmp_path / "state")
    places.repositories.mkdir(parents=True)
    places.secrets.mkdir()
    places.site_file.write_text(SITE)
    for name in SECRETS:
        (places.secrets / name).write_text(f"value of {name}\n")
    return places


def add(places: Places, name: str, text: str) -> None:
    (places.repositories / f"{name}.toml").write_text(text)


def assembled(places: Places) -> dict[str, Any]:
    """Return the dictionary after Buildbot itself has accepted it."""
    config = configure(places)
    # the janitor's configurator adds to the lists that it is given
    copy = {key: list(value) if isinstance(value, list) else value for key, value in config.items()}
    MasterConfig.loadFromDict(copy, "master.cfg")
    return config


def builder(config: dict[str, Any], name: str) -> Any:
    return next(builder for builder in config["builders"] if builder.name == name)


def step_names(config: dict[str, Any], name: str) -> list[str]:
    return [step.buildStep().name for step in builder(config, name).factory.steps]


def test_no_repository_at_all_is_a_configuration(places: Places) -> None:
    config = assembled(places)
    assert config["builders"] == []
    assert config["title"] == "Autogate"


def test_golden_steps_of_every_builder(places: Places) -> None:
    (places.secrets / "shop_token").write_text("t")
    add(places, "shop", SHOP)
    add(places, "till", 'url = "git@git.example.com:acme/till.git"\n[lint]\nenabled = false\n')
    config = assembled(places)
    assert {builder.name: step_names(config, builder.name) for builder in config["builders"]} == {
        "shop-lint": ["checkout", "virtualenv", "reset", "lint"],
        "shop-test": ["checkout", "virtualenv", "test"],
        "shop-deploy": ["checkout", "deploy"],
        "till-test": ["checkout", "virtualenv", "test"],
    }
    for each in config["builders"]:
        assert each.collapseRequests is False
        assert each.workernames == ["worker-1", "worker-2"]


def test_the_lint_builder_judges_as_the_settings_say(places: Places) -> None:
    text = """
        url = "git@github.com:acme/till.git"
        [lint]
        scope = "lines"
        fail_on = "warning"
        also = ["ruff"]
        config_from = "merge"
        suppressions = "warn"
        dependents = "none"
        file_memory = 512
    """
    add(places, "till", text)
    add(places, "shop", SHOP.partition("[deploy]")[0] + 'link = "https://git.example.com/{path}"')
    config = assembled(places)
    till, shop = (
        [step.buildStep() for step in builder(config, f"{name}-lint").factory.steps] for name in ("till", "shop")
    )
    assert (till[1].packages, shop[1].packages) == (("pylint>=4.1,<4.2", "ruff"), ("pylint>=4.1,<4.2",))
    assert till[3].options == {
        "scope": "lines",
        "fail_on": "warning",
        "config_from": "merge",
        "suppressions": "warn",
        "dependents": "none",
        "dependents_time": None,
        "file_time": 120,
        "file_memory": 512,
    }
    assert (till[3].also, till[3].limit) == (("ruff",), None)
    assert till[3].link == "https://github.com/acme/till/blob/{revision}/{path}#L{line}"
    assert (shop[3].limit, shop[3].link) == (9, "https://git.example.com/{path}")


def test_schedulers_of_every_repository(places: Places) -> None:
    (places.secrets / "shop_token").write_text("t")
    add(places, "shop", SHOP)
    schedulers = {scheduler.name: scheduler for scheduler in assembled(places)["schedulers"]}
    assert {name: sorted(scheduler.builderNames) for name, scheduler in schedulers.items()} == {
        "shop-auto": ["shop-lint", "shop-test"],
        "shop-try": ["shop-lint", "shop-test"],
        "shop-target": ["shop-deploy"],
        "shop-force": ["shop-deploy", "shop-lint", "shop-test"],
    }


def test_the_url_goes_through_the_alias_with_the_repositorys_own_key(places: Places) -> None:
    (places.secrets / "keys").mkdir()
    (places.secrets / "keys" / "till").write_text("a private key")
    add(places, "till", 'url = "ssh://git@git.example.com:2222/acme/till.git"\n')
    config = assembled(places)
    assert builder(config, "till-test").factory.steps[0].buildStep().url == "ssh://autogate-till/acme/till.git"
    copy = places.state / "ssh" / "keys" / "till"
    assert copy.read_text() == "a private key"
    assert copy.stat().st_mode & 0o777 == 0o600
    assert "Port 2222" in (places.state / "ssh" / "config").read_text()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("url = 3\n", "url"),
        ("url = ", "is not TOML"),
        ('url = "h:x"\nlimit = 3\n', "limit: is no key"),
        ('url = "h:x"\nauto = "--upload-pack=x"\n', "starts with a dash"),
        (
            'url = "h:x"\n[deploy]\ncommand = ["x"]\nsecrets = { TOKEN = "nowhere" }\n',
            "deploy.secrets: the secret 'nowhere' is missing",
        ),
        ('url = "h:x"\nreport_secret = "nowhere"\n', "report_secret: the secret 'nowhere' is missing"),
    ],
)
def test_a_broken_repository_is_named_and_left_out_and_the_others_go_on(places: Places, text: str, says: str) -> None:
    add(places, "broken", text)
    add(places, "fine", 'url = "h:fine"\n')
    config = assembled(places)
    assert [builder.name for builder in config["builders"]] == ["fine-lint", "fine-test"]
    assert config["title"] == "Autogate: 1 fault"
    left_out = dict(config["www"]["versions"])["Left out: broken.toml"]
    assert "broken.toml" in left_out
    assert says in left_out


@pytest.mark.parametrize(
    ("replace", "by", "says"),
    [
        ('secret = "bot"', 'secret = "nowhere"', "the secret 'nowhere' is missing: write it to the file"),
        ('secret = "bot"', "", "bot.secret: is missing"),
        ("[site]", "[site", "is not TOML"),
        ('admins = ["ada"]', 'admins = ["eve"]', "admins names 'eve'"),
        ('name = "worker-2"', 'name = "worker-1"', "two workers are called 'worker-1'"),
    ],
)
def test_a_broken_site_is_a_configuration_error_and_no_traceback(
    places: Places, replace: str, by: str, says: str
) -> None:
    places.site_file.write_text(SITE.replace(replace, by))
    with pytest.raises(ConfigErrors) as caught:
        configure(places)
    assert says in "\n".join(caught.value.errors)


def test_the_databases_password_is_in_a_private_file_and_in_no_url(places: Places) -> None:
    places.site_file.write_text(
        SITE + '[database]\nurl = "postgresql://autogate@db/autogate"\nsecret = "db_password"\n'
    )
    (places.secrets / "db_password").write_text("p:w\\d\n")
    config = assembled(places)
    passfile = places.state / "pgpass"
    assert config["db"]["db_url"] == f"postgresql+psycopg2://autogate@db/autogate?passfile={passfile}"
    assert passfile.read_text() == "*:*:*:*:p\\:w\\\\d\n"
    assert passfile.stat().st_mode & 0o777 == 0o600


def test_the_configurations_revision_is_shown(places: Places) -> None:
    (label, revision), *_ = assembled(places)["www"]["versions"]
    assert label == "Configuration"
    assert re.fullmatch(r"not in git, content [0-9a-f]{12}", revision)


def test_a_repositorys_results_are_signed_with_its_own_secret(places: Places) -> None:
    (places.secrets / "till_report").write_text("only the till's")
    add(places, "shop", 'url = "h:shop"\n')
    add(places, "till", 'url = "h:till"\nreport_secret = "till_report"\n')
    [reporter] = [service for service in assembled(places)["services"] if service.name == "autogate"]
    options = Options(**reporter._config_kwargs)
    assert options.secret_of("till") == "only the till's"
    assert options.secret_of("shop") == options.secret_of(None) == "value of bot"


def test_buildbots_own_forge_hooks_are_not_enabled(places: Places) -> None:
    assert set(assembled(places)["www"]["change_hook_dialects"]) == {"poller"}


def test_without_a_poke_secret_no_hook_is_enabled(places: Places) -> None:
    places.site_file.write_text(SITE.replace('poke_secret = "poke"', ""))
    assert assembled(places)["www"]["change_hook_dialects"] == {}
