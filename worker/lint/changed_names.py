"""Which names of a module may mean something else to other modules after a change, from its syntax alone."""

import ast
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

MODULE = "*"
"""Stands for the module as such: whoever imports it may see something else."""

EXPORTS = "__all__"
"""Stands for the list of the module's public names: whoever takes them all by a star import may see something else."""

_NEVER = frozenset({"NoReturn", "Never"})

Function = ast.FunctionDef | ast.AsyncFunctionDef


def changed_names(before: bytes | None, after: bytes | None) -> frozenset[str]:
    """Return the names whose meaning for others may differ between two versions of a module.

    Compared is what astroid infers of a module: imports, assignments, classes (bases, decorators, members, attributes
    that methods store), functions (parameters and defaults, decorators, what they return, yield and store, and the
    local variables that this comes from). Comments, docstrings, formatting, order, annotations of parameters, and
    statements that nothing of this comes from are not. A definition of the same module that is made of a changed one,
    such as a function that returns what a changed function returns, counts as changed, too.

    Args:
        before: The module's source before; None when there was no such file.
        after: The same after.

    Returns:
        What the module has, such as ``Cart``; and what classes have and attributes that are set anywhere, with a dot,
        such as ``.total``. A class counts as changed when a method of it is removed, or an abstract or a special one
        differs; special names themselves are left out. `MODULE` is among them when a side is missing or cannot be
        parsed, or a star import or the module's own ``__getattr__`` differs; `EXPORTS` when the module has a name more
        or less.
    """
    if before == after:
        return frozenset()
    old, new = _units(before), _units(after)
    if old is None or new is None:
        known = _meanings([*(old or ()), *(new or ())])
        public = {_name(key) for key in known if not key[-1].startswith("_")}
        return frozenset(public | {MODULE, EXPORTS})
    same = Counter(old) & Counter(new)
    gone, come = _meanings(_without(old, same)), _meanings(_without(new, same))
    names: set[str] = set()
    for key in gone.keys() | come.keys():
        was, now = gone.get(key), come.get(key)
        if was is None or now is None or was.prints != now.prints:
            names |= _affected(key, was, now)
    return frozenset(_with_echoes(names, [*same, *_without(new, same)])) if names else frozenset()


def echoes(source: bytes, names: Iterable[str]) -> frozenset[str]:
    """Return the names of an unchanged module that are made of changed ones elsewhere, such as what returns them.

    Args:
        source: The module.
        names: What changed elsewhere, as `changed_names` returns it.

    Returns:
        As `changed_names`; without ``names`` themselves.
    """
    seen = {each for name in names for each in (name, name if name.startswith(".") else f".{name}")}
    return frozenset(_with_echoes(set(seen), _units(source) or []) - seen)


@dataclass(frozen=True, slots=True)
class _Unit:
    """A statement of a module, or of a class below it; its text decides whether two are the same."""

    owner: tuple[str, ...]
    text: bytes
    node: ast.stmt = field(compare=False)


@dataclass(slots=True)
class _Meaning:
    """What is known of a name: a print a definition of it, and the names that these are made of."""

    prints: list[str] = field(default_factory=list)
    uses: set[str] = field(default_factory=set)
    is_function: bool = False
    is_abstract: bool = False


_Key = tuple[str, ...]
_Meanings = dict[_Key, _Meaning]


def _units(source: bytes | None) -> list[_Unit] | None:
    if source is None:
        return None
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    lines = source.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
    return list(_split(tree.body, (), lines))


def _split(body: list[ast.stmt], owner: _Key, lines: list[bytes]) -> Iterator[_Unit]:
    for node in body:
        begin = min([node.lineno, *(each.lineno for each in getattr(node, "decorator_list", ()))])
        end = node.end_lineno or node.lineno
        if isinstance(node, ast.ClassDef):
            end = max(node.lineno, node.body[0].lineno - 1)
            yield from _split(node.body, (*owner, node.name), lines)
        yield _Unit(owner, b"\n".join(lines[begin - 1 : end]), node)


def _without(units: list[_Unit], same: Counter[_Unit]) -> list[_Unit]:
    left = Counter(same)
    rest = []
    for unit in units:
        if left[unit]:
            left[unit] -= 1
        else:
            rest.append(unit)
    return rest


def _affected(key: _Key, was: _Meaning | None, now: _Meaning | None) -> set[str]:
    *owner, name = key
    if not owner:
        if name == "__getattr__":
            return {MODULE}
        return {name} if was and now else {name, EXPORTS}
    is_special = name.startswith("__") and name.endswith("__")
    either = [each for each in (was, now) if each]
    names = set() if is_special else {_name(key)}
    method_removed = now is None and any(each.is_function for each in either)
    if owner[-1] and (is_special or method_removed or any(each.is_abstract for each in either)):
        names.add(_name(tuple(owner)))
    return names


def _name(key: _Key) -> str:
    return key[-1] if len(key) == 1 else f".{key[-1]}"


def _with_echoes(names: set[str], units: list[_Unit]) -> set[str]:
    """Add the definitions that are made of changed ones, until there are no more."""
    meanings: dict[_Unit, _Meanings] = {}
    fresh = set(names)
    while fresh:
        spelled = [each.removeprefix(".").encode() for each in fresh]
        found: set[str] = set()
        for unit in units:
            if any(each in unit.text for each in spelled):
                if unit not in meanings:
                    meanings[unit] = _meanings([unit])
                found |= {_name(key) for key, meaning in meanings[unit].items() if meaning.uses & fresh}
        fresh = found - names
        names |= fresh
    return names


def _meanings(units: Iterable[_Unit]) -> _Meanings:
    meanings: _Meanings = {}
    for unit in units:
        if isinstance(unit.node, ast.ClassDef):
            _add_class(meanings, unit.owner, "", unit.node)
        else:
            _add_body(meanings, unit.owner, [unit.node])
    return meanings


def _add_body(meanings: _Meanings, owner: _Key, body: list[ast.stmt]) -> None:
    for path, node in _statements(body):
        if isinstance(node, Function):
            _add_function(meanings, owner, path, node)
        elif isinstance(node, ast.ClassDef):
            _add_class(meanings, owner, path, node)
            _add_body(meanings, (*owner, node.name), node.body)
        else:
            if any(isinstance(each, ast.Name) and each.id == EXPORTS for each in ast.walk(node)):
                _note(meanings, (*owner, EXPORTS), path, [node])
            annotation = ast.dump(node.annotation) if owner and isinstance(node, ast.AnnAssign) else ""
            for target, values in _bindings(node):
                key = (*owner, target) if isinstance(target, str) else ("", target.attr)
                _note(meanings, key, f"{path} {_kind(node, values)} {annotation}", values)  # as dataclasses read it


def _kind(node: ast.stmt, values: Sequence[ast.AST]) -> str:
    return "=" if isinstance(node, ast.Assign | ast.AnnAssign) and values else type(node).__name__


def _add_class(meanings: _Meanings, owner: _Key, path: str, node: ast.ClassDef) -> None:
    parts = [*node.bases, *node.keywords, *node.decorator_list]
    _note(meanings, (*owner, node.name), f"{path} class", parts)


def _add_function(meanings: _Meanings, owner: _Key, path: str, node: Function) -> None:
    flow = _Flow(node)
    decorators = " ".join(map(ast.dump, node.decorator_list))
    key = (*owner, node.name)
    meaning = _note(meanings, key, f"{path} {type(node).__name__}", [_bare(node.args), *node.decorator_list])
    meaning.is_function = True
    first = _first(node)
    meaning.is_abstract |= "abstract" in decorators or isinstance(first, ast.Raise)
    never = sorted(_NEVER & {each.removeprefix(".") for each in _uses([node.returns])}) if node.returns else []
    meaning.prints.append(f"{never} {first and ast.dump(first)} {bool(flow.yields)}")
    results = flow.returns
    if flow.yields:  # nothing is inferred of what a generator yields, but for a context manager
        results = flow.yields if "contextmanager" in decorators else []
    for shown, parts in results:
        _note(meanings, key, shown, parts, flow)
    for target, shown, parts in flow.stores:
        stored = (target,) if isinstance(target, str) else (*(owner or ("",)), target.attr)
        _note(meanings, stored, f"{node.name} {shown}", parts, flow)


def _note(meanings: _Meanings, key: _Key, path: str, parts: Sequence[ast.AST], flow: "_Flow | None" = None) -> _Meaning:
    meaning = meanings.setdefault(key, _Meaning())
    if flow:
        parts = [*parts, *flow.origins(parts)]
    meaning.prints.append(" ".join([path, *map(ast.dump, parts)]))
    meaning.uses |= _uses(parts) - (flow.locals if flow else frozenset())
    return meaning


class _Flow:
    """What comes out of a function: its results, what it stores elsewhere, and the local variables of both.

    Attributes:
        returns: (where, expressions) a return.
        yields: (where, expressions) a yield.
        stores: (attribute or global name, where, expressions) of what is stored.
        locals: Names that are the function's own.
    """

    def __init__(self, function: Function) -> None:
        self.returns: list[tuple[str, list[ast.AST]]] = []
        self.yields: list[tuple[str, list[ast.AST]]] = []
        self.stores: list[tuple[ast.Attribute | str, str, list[ast.AST]]] = []
        self._bound: dict[str, list[ast.AST]] = {}
        foreign: set[str] = set()
        for path, node in _statements(function.body):
            if isinstance(node, ast.Global | ast.Nonlocal):
                foreign.update(node.names)
            self._look_at(path, node, foreign)
        arguments = function.args
        every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg]
        self.locals = frozenset(self._bound) | {each.arg for each in every if each}

    def _look_at(self, path: str, node: ast.stmt, foreign: set[str]) -> None:
        if isinstance(node, ast.Return):
            self.returns.append((f"{path} return", [node.value] if node.value else []))
        for expression in _expressions(node):
            for inner in ast.walk(expression):
                if isinstance(inner, ast.Yield | ast.YieldFrom):
                    self.yields.append((f"{path} {type(inner).__name__}", [inner.value] if inner.value else []))
        if isinstance(node, Function):
            self.stores += _Flow(node).stores
            self._bound.setdefault(node.name, []).append(node)
        elif isinstance(node, ast.ClassDef):
            self._bound.setdefault(node.name, []).append(node)
        else:
            for target, values in _bindings(node):
                if isinstance(target, str) and target not in foreign:
                    self._bound.setdefault(target, []).extend(values)
                else:
                    self.stores.append((target, f"{path} {_kind(node, values)}", values))

    def origins(self, parts: Sequence[ast.AST]) -> list[ast.AST]:
        """Return what the local variables in ``parts`` are bound to, and so on."""
        origins: list[ast.AST] = []
        known: set[str] = set()
        waiting = list(parts)
        while waiting:
            for name in sorted(_uses([waiting.pop()]) & self._bound.keys() - known):
                known.add(name)
                origins += self._bound[name]
                waiting += self._bound[name]
        return origins


def _statements(body: list[ast.stmt], path: str = "") -> Iterator[tuple[str, ast.stmt]]:
    """Yield each statement of a scope with the branches that it is in."""
    for node in body:
        yield path, node
        if isinstance(node, Function | ast.ClassDef):
            continue
        here = f"{path}/{type(node).__name__}"
        if isinstance(node, ast.If):
            here += f" {ast.dump(node.test)}"
        for branch in ("body", "orelse", "finalbody"):
            yield from _statements(getattr(node, branch, []), f"{here}.{branch}")
        for handler in getattr(node, "handlers", []):
            yield from _statements(handler.body, f"{here}.{ast.dump(handler.type) if handler.type else 'except'}")
        for case in getattr(node, "cases", []):
            yield from _statements(case.body, f"{here}.{ast.dump(case.pattern)}")


def _expressions(node: ast.stmt) -> Iterator[ast.AST]:
    """Yield the expressions of a statement that are not those of statements in it."""
    if isinstance(node, Function | ast.ClassDef):
        return
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, ast.stmt | ast.excepthandler | ast.match_case):
            yield child


def _bindings(node: ast.stmt) -> Iterator[tuple[ast.Attribute | str, list[ast.AST]]]:
    """Yield the names and attributes that a statement binds or deletes, with what it binds them to."""
    if isinstance(node, ast.Import):
        for alias in node.names:
            yield alias.asname or alias.name.partition(".")[0], [alias]
    elif isinstance(node, ast.ImportFrom) and node.module != "__future__":
        for alias in node.names:
            origin = ast.ImportFrom(node.module, [alias], node.level)
            yield MODULE if alias.name == "*" else alias.asname or alias.name, [origin]
    elif isinstance(node, ast.Try | ast.TryStar):
        for handler in node.handlers:
            if handler.name:
                yield handler.name, [handler.type] if handler.type else []
    elif isinstance(node, ast.Match):
        yield from _captures(node)
    yield from _stores(node)


def _captures(node: ast.Match) -> Iterator[tuple[str, list[ast.AST]]]:
    for case in node.cases:
        for inner in ast.walk(case.pattern):
            if name := getattr(inner, "name", None) or getattr(inner, "rest", None):
                yield name, [node.subject, case.pattern]


def _stores(node: ast.stmt) -> Iterator[tuple[ast.Attribute | str, list[ast.AST]]]:
    for expression in _expressions(node):
        for inner in ast.walk(expression):
            if isinstance(inner, ast.NamedExpr):
                yield inner.target.id, [inner.value]
            elif isinstance(inner, ast.Name | ast.Attribute) and not isinstance(inner.ctx, ast.Load):
                yield inner.id if isinstance(inner, ast.Name) else inner, _values(node)


def _values(node: ast.stmt) -> list[ast.AST]:
    if isinstance(node, ast.AnnAssign):
        return [node.value] if node.value else []
    if isinstance(node, ast.If | ast.While | ast.Expr):
        return []  # what an assignment expression in it binds is yielded beside it
    if isinstance(node, ast.For | ast.AsyncFor):
        return [node.iter]
    if isinstance(node, ast.With | ast.AsyncWith):
        return [item.context_expr for item in node.items]
    if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name | ast.Attribute):
        return [node.value]  # other names that it is bound to at the same time say nothing
    return [node]


def _bare(arguments: ast.arguments) -> ast.arguments:
    """Return a function's parameters without annotations, which nothing is inferred from."""

    def bare(each: ast.arg) -> ast.arg:
        return ast.arg(each.arg)

    return ast.arguments(
        posonlyargs=[bare(each) for each in arguments.posonlyargs],
        args=[bare(each) for each in arguments.args],
        vararg=bare(arguments.vararg) if arguments.vararg else None,
        kwonlyargs=[bare(each) for each in arguments.kwonlyargs],
        kw_defaults=arguments.kw_defaults,
        kwarg=bare(arguments.kwarg) if arguments.kwarg else None,
        defaults=arguments.defaults,
    )


def _first(function: Function) -> ast.stmt | None:
    """Return the first statement where it makes astroid take a function for abstract, or for a placeholder."""
    docstring = ast.get_docstring(function, clean=False) is not None
    first = next(iter(function.body[docstring:]), None)
    is_dots = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and first.value.value is ...
    return first if is_dots or isinstance(first, ast.Raise | ast.Pass) else None


def _uses(parts: Iterable[ast.AST]) -> set[str]:
    names = set()
    for part in parts:
        for node in ast.walk(part):
            if isinstance(node, ast.Name):
                names.add(node.id)
            elif isinstance(node, ast.Attribute):
                names.add(f".{node.attr}")
    return names
