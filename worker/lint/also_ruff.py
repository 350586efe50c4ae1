"""What ruff says of changed files, looked up where it is known."""

import os
from collections.abc import Iterable, Mapping

from . import ruff
from .cache import ResultCache, key_of
from .judging import Judging, Need
from .model import Judgement, Loaded, Side

NOTHING_ELSE = Loaded()
"""What a result of ruff depends on besides the file and the configuration."""


def judge(
    judging: Judging, cache: ResultCache, needs: Iterable[Need], environ: Mapping[str, str]
) -> dict[Need, Judgement]:
    """Return what ruff says of files: of changed ones alone, since it looks at one file at a time.

    Args:
        judging: The run's way to trees and their folders.
        cache: Where results are kept.
        needs: Which files.
        environ: The environment's variables.

    Raises:
        RuffError: There is no ruff, or it could not do its work.
    """
    program = ruff.find_ruff(judging.interpreter.python, environ)
    configured = judging.trees[judging.configured]
    name = ruff.find_configuration(configured)
    configuration_id = f"{name}\0{configured.blob(name)}" if name else "none"
    results: dict[Need, Judgement] = {}
    missing: dict[Side, dict[str, str]] = {}
    for side, path in needs:
        tree = judging.trees[side]
        key = key_of(configuration_id, ruff.ruff_id(program), path, tree.blob(path) or "")
        known = cache.look(key, path, tree) if judging.options.cached else None
        if known is None:
            missing.setdefault(side, {})[path] = key
        else:
            judging.cached += 1
            results[side, path] = known[0]
    for side, keys in missing.items():
        judging.say(f"asking ruff about {len(keys)} files")
        file = os.path.join(judging.root(judging.configured), name) if name else None
        said = ruff.lint(program, judging.root(side), keys, configuration=file, environ=environ)
        judging.linted += len(said)
        for path, judgement in said.items():
            results[side, path] = judgement
            if judging.options.cached and judging.trees[side].is_settled(path):
                cache.keep(keys[path], path, judgement, NOTHING_ELSE)
    return results
