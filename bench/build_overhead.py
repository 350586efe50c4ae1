"""What the gate itself costs round a build that does nothing, on a repository of 10,000 files.

Ours is CheckoutExact, Virtualenv (one that was made before) and SoftReset. Beside it, in the same run, on the same
master and worker and for the same candidates: steps.Git(mode="full", method="clobber"), ``python -m venv`` and
``pip install -U``, from a folder of wheels, so that no registry's speed is in it.
"""

import base64
import hashlib
import statistics
import tempfile
import zipfile
from pathlib import Path

from rich.progress import Progress

from bench.table import Row, publish
from tests.custom_steps.gate import Gate, checkout
from tests.support.repository import Files, Repository

FILES = 10_000
PACKAGES = 5
BUILDS = 15
TARGET_SECONDS = 2.5

CLOCK = "steps.SetProperty(property={0!r}, value=util.Transform(__import__('time').time), hideStepIf=True)"
NOTHING = "steps.ShellCommand(command=['true'], name='nothing', logEnviron=False)"


def main() -> None:
    """Build each candidate both ways, and publish the medians."""
    with tempfile.TemporaryDirectory() as name, Progress() as progress:
        folder = Path(name)
        task = progress.add_task("a repository of 10,000 files", total=2 * (BUILDS + 1))
        repository = Repository.create(folder, files=_files(_wheels(folder / "wheels")))
        gate = Gate(folder)
        gate.start()
        try:
            ours: list[float] = []
            stock: list[float] = []
            for number in range(BUILDS + 1):
                revision = repository.candidate(
                    {f"src/0/{number}.py": f"CHANGED = {number}\n"}, topic=f"topic-{number}"
                )
                repository.push("auto")
                for builder, recipe, seconds in (("one", _ours(repository), ours), ("two", _stock(repository), stock)):
                    progress.update(task, description=f"candidate {number} of {BUILDS}")
                    seconds.append(_seconds(gate, recipe, revision, builder))
                    progress.advance(task)
        finally:
            gate.stop()
    publish("build_overhead", _rows(ours, stock))


def _rows(ours: list[float], stock: list[float]) -> list[Row]:
    # The first build of each fills the caches; it is told by itself.
    median, peer = statistics.median(ours[1:]), statistics.median(stock[1:])
    target = f"median at most {TARGET_SECONDS:g} s"
    return [
        Row("overhead of a no-op build, median", median, peer, peer / median, "s", target, median <= TARGET_SECONDS),
        Row(
            "overhead of a no-op build, slowest",
            max(ours[1:]),
            max(stock[1:]),
            max(stock[1:]) / max(ours[1:]),
            "s",
            "",
            None,
        ),
        Row("the first build, with empty caches", ours[0], stock[0], stock[0] / ours[0], "s", "", None),
    ]


def _seconds(gate: Gate, recipe: str, revision: str, builder: str) -> float:
    build = gate.build(
        f"{CLOCK.format('begun')}, {recipe}, {NOTHING}, {CLOCK.format('ended')}", revision, builder=builder
    )
    if build.result != "success":
        raise RuntimeError(f"the build on {builder} failed: {build.state}\n{build.last}")
    return float(build.properties["ended"]) - float(build.properties["begun"])


def _ours(repository: Repository) -> str:
    return f"{checkout(repository)}, steps.Virtualenv(), steps.SoftReset()"


def _stock(repository: Repository) -> str:
    git = f"steps.Git(repourl={str(repository.bare)!r}, mode='full', method='clobber', logEnviron=False)"
    venv = "steps.ShellCommand(command=['python3', '-m', 'venv', '../venv'], logEnviron=False)"
    command = ["../venv/bin/pip", "install", "-U", "-r", "requirements.txt"]
    pip = f"steps.ShellCommand(command={command!r}, logEnviron=False)"
    reset = "steps.ShellCommand(command=['git', 'reset', '--soft', 'HEAD^'], logEnviron=False)"
    return f"{git}, {venv}, {pip}, {reset}"


def _files(wheels: Path) -> Files:
    body = "\n".join(f"def function_{number}():\n    return {number}\n" for number in range(20))
    files = {f"src/{number % 100}/{number}.py": f"NUMBER = {number}\n\n{body}" for number in range(FILES - 1)}
    names = "\n".join(f"package{number}==1.0" for number in range(PACKAGES))
    return files | {"requirements.txt": f"--no-index\n--find-links {wheels}\n{names}\n"}


def _wheels(folder: Path) -> Path:
    folder.mkdir()
    for number in range(PACKAGES):
        name = f"package{number}"
        info = f"{name}-1.0.dist-info"
        files = {
            f"{name}.py": "VERSION = 1\n",
            f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n",
            f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: bench\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        }
        lines = [f"{path},sha256={_digest(content)},{len(content)}\n" for path, content in files.items()]
        files[f"{info}/RECORD"] = "".join([*lines, f"{info}/RECORD,,\n"])
        with zipfile.ZipFile(folder / f"{name}-1.0-py3-none-any.whl", "w") as wheel:
            for path, content in files.items():
                wheel.writestr(path, content)
    return folder


def _digest(content: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(content.encode()).digest()).rstrip(b"=").decode()


if __name__ == "__main__":
    main()
