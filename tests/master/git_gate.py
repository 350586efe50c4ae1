"""A git program that can be held in the middle of what it does."""

import errno
import os
import shutil
import subprocess
from pathlib import Path

from tests.support.waiting import wait_for

PHASES = ("before-ls-remote", "during-ls-remote", "after-ls-remote", "before-fetch", "during-fetch", "after-fetch")

_GIT = """\
#!/bin/sh
hold() {{ if mv "{folder}/armed-$1" "{folder}/reached-$1" 2>/dev/null; then read -r _ < "{folder}/go"; fi; }}
case " $* " in *" ls-remote "*) what=ls-remote ;; *" fetch "*) what=fetch ;; *) exec {git} "$@" ;; esac
hold "before-$what"
GIT_EXEC_PATH="{folder}/exec" GATE="$what" {git} "$@" > "{folder}/output-$$"
code=$?
hold "after-$what"
cat "{folder}/output-$$"
rm "{folder}/output-$$"
exit "$code"
"""

_UPLOAD_PACK = """\
#!/bin/sh
if mv "{folder}/armed-during-$GATE" "{folder}/reached-during-$GATE" 2>/dev/null; then read -r _ < "{folder}/go"; fi
exec {git} upload-pack "$@"
"""


class GitGate:
    """The program, ``bin/git`` below ``folder``: it stops once at the armed phase until it is released."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.bin = folder / "bin"
        self.bin.mkdir(parents=True)
        (folder / "exec").mkdir()
        real = shutil.which("git")
        core = subprocess.run(["git", "--exec-path"], capture_output=True, text=True, check=True).stdout.strip()
        for program in Path(core).iterdir():
            if program.name != "git-upload-pack":
                (folder / "exec" / program.name).symlink_to(program)
        os.mkfifo(folder / "go")
        for path, script in ((self.bin / "git", _GIT), (folder / "exec" / "git-upload-pack", _UPLOAD_PACK)):
            path.write_text(script.format(folder=folder, git=real))
            path.chmod(0o755)

    @property
    def git(self) -> str:
        return str(self.bin / "git")

    def arm(self, phase: str) -> None:
        (self.folder / f"reached-{phase}").unlink(missing_ok=True)
        (self.folder / f"armed-{phase}").touch()

    def reached(self, phase: str) -> bool:
        return (self.folder / f"reached-{phase}").exists()

    def release(self, alive: bool = True) -> None:
        """Let the held process go on; when it may have been killed, ``alive`` is False."""
        if alive:
            wait_for(self._open, "the held process")
        else:
            self._open()

    def _open(self) -> bool:
        try:
            os.close(os.open(self.folder / "go", os.O_WRONLY | os.O_NONBLOCK))
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
            return False
        return True
