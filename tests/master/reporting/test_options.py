"""What is wrong with a reporter's arguments is said before the master starts."""

from typing import Any

import pytest
from buildbot.config.errors import ConfigErrors, capture_config_errors

from master.reporting.options import url_faults
from master.reporting.reporter import AutogateReporter

RIGHT: dict[str, Any] = {"url": "http://127.0.0.1:8000/results", "secret": "s", "builders": {"a": ("shop", "lint")}}


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"url": "ftp://bot/"}, "http or https"),
        ({"url": "http:///x"}, "http or https"),
        ({"url": "http://bot:99999/"}, "no address"),
        ({"secret": ""}, "give master and bot the same one"),
        ({"secrets": {"shop": ""}}, r"secrets\['shop'\] is empty; give master and bot the same one"),
        ({"protocol": "smtp"}, "one of autogate, homu"),
        ({"builders": {"a": ("shop", "dance")}}, "one of lint, test, deploy"),
        ({"builders": {"a": "shop"}}, "must be"),
        ({"timeout": 0}, "greater than 0"),
        ({"concurrency": -1}, "greater than 0"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_faults(change: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ConfigErrors, match=complaint), capture_config_errors(raise_on_error=True):
        AutogateReporter(**(RIGHT | change))


def test_what_is_right_is_taken() -> None:
    with capture_config_errors(raise_on_error=True):
        reporter = AutogateReporter(**RIGHT)
    assert reporter.name == "autogate"
    assert AutogateReporter(name="second", **RIGHT).name == "second"


def test_a_missing_argument_is_named() -> None:
    with pytest.raises(ConfigErrors, match="url"), capture_config_errors(raise_on_error=True):
        AutogateReporter(secret="s", builders={})


@pytest.mark.parametrize("url", ["http://user:hush@bot/", "http://hush@bot/", "http://[hush/"])
def test_a_password_in_the_address_is_not_repeated(url: str) -> None:
    [fault] = url_faults(url)
    assert "hush" not in fault
