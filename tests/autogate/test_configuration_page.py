"""docs/configuration.md names every key, as the settings' models have it."""

from tests.support.reference import PAGE, page_with_tables


def test_the_page_is_what_the_models_say() -> None:
    page = PAGE.read_text()
    assert page == page_with_tables(page), "run `python -m tests.support.reference`"
    assert "`poll_interval`" in page
    assert "`poke_secret`" in page
