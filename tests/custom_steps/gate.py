"""A real master and worker whose builds run whatever steps a test writes down."""

import contextlib
import http.client
import json
import os
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from buildbot.process.results import Results

from tests.support.processes import BIN, Master, Worker
from tests.support.repository import Repository
from tests.support.waiting import wait_for

CONFIGURATION = '''
from buildbot.plugins import schedulers, secrets, steps, util, worker
from buildbot.process.buildstep import BuildStep
from buildbot.process.results import SUCCESS


class Expand(BuildStep):
    """Add the steps of the property "recipe" to the build."""

    name = "expand"

    async def run(self):
        self.build.addStepsAfterCurrentStep(eval(self.getProperty("recipe"), {"steps": steps, "util": util}))
        return SUCCESS


NAMES = ["one", "two", "three"]
gate_worker = worker.Worker("worker-1", "pass")
# Buildbot keeps a worker from work for a while after each build that ends with EXCEPTION.
gate_worker.quarantine_timeout = gate_worker.quarantine_initial_timeout = gate_worker.quarantine_max_timeout = 0
BuildmasterConfig = {
    "buildbotNetUsageData": None,
    "db": {"db_url": "sqlite:///state.sqlite"},
    "www": {"port": "tcp:{www}:interface=127.0.0.1"},
    "secretsProviders": [secrets.SecretInAFile(dirname="secrets")],
    "protocols": {"pb": {"port": "tcp:{pb}:interface=127.0.0.1"}},
    "workers": [gate_worker],
    "builders": [
        util.BuilderConfig(name, workernames=["worker-1"], collapseRequests=False,
                           factory=util.BuildFactory([Expand()]))
        for name in NAMES
    ],
    "schedulers": [
        schedulers.ForceScheduler(
            name="force", builderNames=NAMES, properties=[util.StringParameter("recipe", multiple=False)]
        ),
    ],
}
'''


@dataclass(frozen=True)
class Step:
    """What a step came to: its result by name, its summary, and its logs' text by name."""

    result: str
    summary: str
    logs: dict[str, str]


@dataclass(frozen=True)
class Build:
    """What a build came to.

    Attributes:
        id: Buildbot's ``buildid``.
        result: Its result, by name.
        state: Its summary.
        steps: Its steps by name, without the first, which only adds the others.
        properties: Its properties.
        rows: Its test results, as the data API returns them, by category.
    """

    id: int
    result: str
    state: str
    steps: dict[str, Step]
    properties: dict[str, Any]
    rows: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    @property
    def cause(self) -> str | None:
        return self.properties.get("autogate_cause")

    @property
    def last(self) -> Step:
        return list(self.steps.values())[-1]


class Gate:
    """A master and a worker, started once for many tests."""

    def __init__(self, folder: Path, environment: dict[str, str] | None = None) -> None:
        self.folder = folder
        secrets = folder / "master/secrets"
        secrets.mkdir(parents=True)
        (secrets / "password").write_text("open-sesame")
        (secrets / "password").chmod(0o600)
        self.master = Master(folder / "master", CONFIGURATION)
        path = os.pathsep.join([str(BIN), "/usr/local/bin", "/usr/bin", "/bin"])
        settings = {"PATH": path, "GIT_CONFIG_GLOBAL": os.devnull} | (environment or {})
        self.worker = Worker(folder / "worker", self.master, environment=settings)

    @property
    def cache(self) -> Path:
        return self.worker.folder / "autogate-cache"

    def workdir(self, builder: str = "one") -> Path:
        return self.worker.folder / builder / "build"

    def get(self, path: str) -> Any:
        """Return the JSON of ``/api/v2/PATH``."""
        for _ in range(3):
            # Under load, Buildbot now and then ends an answer before its body.
            with contextlib.suppress(http.client.IncompleteRead):
                return self.master.get(path)
        raise AssertionError(f"no whole answer for {path}")

    def start(self) -> None:
        self.master.start()
        self.worker.start()
        wait_for(lambda: self.get("workers")["workers"][0]["connected_to"], "the worker to attach")

    def stop(self) -> None:
        self.worker.stop()
        self.master.stop()

    def begin(self, recipe: str, revision: str = "", branch: str = "auto", builder: str = "one") -> int:
        """Ask for a build of ``[RECIPE]`` (a list of steps, as Python) and return its request's number."""
        parameters = {
            "builderid": self._builder(builder),
            "recipe": f"[{recipe}]",
            "branch": branch,
            "revision": revision,
            "reason": "a test",
        }
        body = {"jsonrpc": "2.0", "id": 1, "method": "force", "params": parameters}
        request = urllib.request.Request(
            f"{self.master.url}api/v2/forceschedulers/force",
            data=json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            result = json.load(answer)["result"]
        return int(next(iter(result[1].values())))

    def running(self, request: int) -> int:
        """Wait until the request has a build, and return the build's number."""
        builds = wait_for(lambda: self.get(f"buildrequests/{request}/builds")["builds"], "the build to start")
        return int(builds[-1]["buildid"])

    def finish(self, request: int) -> Build:
        """Wait for a request to be complete and return its last build."""
        wait_for(lambda: self.get(f"buildrequests/{request}")["buildrequests"][0]["complete"], "the request", 240)
        return self._build(self.get(f"buildrequests/{request}/builds")["builds"][-1])

    def build(self, recipe: str, revision: str = "", branch: str = "auto", builder: str = "one") -> Build:
        """Run a build of ``[RECIPE]`` to its end."""
        return self.finish(self.begin(recipe, revision, branch, builder))

    def candidate(self, repository: Repository, recipe: str, files: dict[str, str | bytes | None]) -> Build:
        """Merge ``files`` onto ``auto``, push, and build ``CheckoutExact, RECIPE`` of it."""
        revision = repository.candidate(files)
        repository.push("auto")
        return self.build(f"{checkout(repository)}, {recipe}", revision)

    def stop_build(self, build: int) -> None:
        """Cancel a running build."""
        body = {"jsonrpc": "2.0", "id": 1, "method": "stop", "params": {"reason": "a test"}}
        request = urllib.request.Request(
            f"{self.master.url}api/v2/builds/{build}",
            data=json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
        )
        urllib.request.urlopen(request, timeout=30).close()

    def log_of(self, build: int, step: str, log: str = "stdio") -> str:
        """Return what a running step has logged so far."""
        for entry in self.get(f"builds/{build}/steps")["steps"]:
            if entry["name"] == step:
                for found in self.get(f"steps/{entry['stepid']}/logs")["logs"]:
                    if found["name"] == log:
                        return self._text(found)
        return ""

    def _builder(self, name: str) -> int:
        return next(
            int(builder["builderid"]) for builder in self.get("builders")["builders"] if builder["name"] == name
        )

    def _build(self, row: dict[str, Any]) -> Build:
        number = row["buildid"]
        properties = self.get(f"builds/{number}/properties")["properties"][0]
        rows: dict[str, list[dict[str, Any]]] = {}
        for found in self.get(f"builds/{number}/test_result_sets")["test_result_sets"]:
            assert found["complete"]
            assert found["value_unit"] == "json"
            results = self.get(f"test_result_sets/{found['test_result_setid']}/results")["test_results"]
            rows.setdefault(found["category"], []).extend(results)
        return Build(
            id=number,
            result=Results[row["results"]],
            state=row["state_string"],
            steps={
                step["name"]: self._step(step)
                for step in self.get(f"builds/{number}/steps")["steps"]
                if step["name"] != "expand"
            },
            properties={name: value for name, (value, _) in properties.items()},
            rows=rows,
        )

    def _step(self, row: dict[str, Any]) -> Step:
        logs = self.get(f"steps/{row['stepid']}/logs")["logs"]
        result = "none" if row["results"] is None else Results[row["results"]]
        return Step(result, row["state_string"], {log["name"]: self._text(log) for log in logs})

    def _text(self, log: dict[str, Any]) -> str:
        content: str = self.get(f"logs/{log['logid']}/contents")["logchunks"][0]["content"]
        if log["type"] != "s":
            return content
        return "\n".join(line[1:] for line in content.split("\n"))


def checkout(repository: Repository) -> str:
    """Return the step that checks out ``repository``, as Python."""
    return f"steps.CheckoutExact(url={str(repository.bare)!r})"
