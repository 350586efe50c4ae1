"""A setting that is changed, and changed back, takes effect both times; Buildbot's services compare with the first."""

from functools import partial
from pathlib import Path

import httpx

from autogate.cli.local import LocalInstallation
from tests.support.repository import Repository
from tests.support.waiting import wait_for


def builders_asked(installation: LocalInstallation, sha: str) -> set[str]:
    """Return the builders that were asked to build a commit."""
    api = f"{installation.url}api/v2/"
    names = {
        builder["builderid"]: builder["name"] for builder in httpx.get(f"{api}builders", timeout=30).json()["builders"]
    }
    sets = {
        each["bsid"]
        for each in httpx.get(f"{api}buildsets", timeout=30).json()["buildsets"]
        if sha in {stamp["revision"] for stamp in each["sourcestamps"]}
    }
    requests = httpx.get(f"{api}buildrequests", timeout=30).json()["buildrequests"]
    return {names[request["builderid"]] for request in requests if request["buildsetid"] in sets}


def test_the_branch_of_candidates_is_changed_and_changed_back(tmp_path: Path) -> None:
    repository = Repository.create(tmp_path)
    installation = LocalInstallation(tmp_path / "in", "http://127.0.0.1:9/buildbot", workers=0)
    site = installation.places.site_file
    site.write_text(f'{site.read_text()}[[workers]]\nname = "w"\nsecret = "w"\n')
    installation.add_secret("w")

    def use(auto: str) -> None:
        installation.add_repository("shop", f'url = "{repository.bare}"\npoll_interval = 3600\nauto = "{auto}"\n')

    def is_asked(sha: str) -> bool:
        return builders_asked(installation, sha) == {"shop-lint", "shop-test"}

    use("auto")
    try:
        installation.start()
        for turn, auto in enumerate(("auto", "staging", "auto")):
            use(auto)
            installation.reconfigure()
            sha = repository.candidate({"turn": f"{turn}\n"}, topic=f"topic-{turn}")
            repository.push(f"auto:{auto}")
            installation.poke("shop")
            wait_for(partial(is_asked, sha), f"both builders to be asked for what is on {auto}")
    finally:
        installation.kill()
