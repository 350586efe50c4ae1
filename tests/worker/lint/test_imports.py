"""What files import and mention, the memory of it, and the graph."""

from pathlib import Path

import pytest

from worker.lint.imports import Graph, Scan, loads, module_names, packages_of, scan, scans_of
from worker.lint.store import Store


@pytest.mark.parametrize(
    ("source", "imports"),
    [
        ("import a.b as c, d", {"a.b", "d"}),
        ("from a import b, c as e", {"a:b", "a:c>e"}),
        ("from a import (  # why\n    b,  # (that)\n    c as e,\n)\n", {"a:b", "a:c>e"}),
        ("from ..a.b import c", {"..a.b:c"}),
        ("from . import c", {".:c"}),
        ("from .import c", {".:c"}),
        ("from a import *", {"a:*"}),
        ("def f():\n\tfrom a import b; import c\n", {"a:b", "c"}),
        ("try: import a\nexcept E: import b", {"a", "b"}),
        ("from a \\\n    import b, \\\n    c", {"a:b", "a:c"}),
        ("\ufeffimport a\r\nimport b\rimport c", {"a", "b", "c"}),
        ("# import a\nx = 'from a import b'\nreimport = important.a\nimportlib.import_module(a)", set()),
        ("import größe", {"größe"}),
        ("", set()),
    ],
)
def test_imports_are_found_wherever_they_stand(source: str, imports: set[str]) -> None:
    assert set(scan(source.encode()).imports) == imports


def test_attributes_and_functions_are_words_and_with_a_star_import_everything_is() -> None:
    assert scan(b"x = a.b(c).\\\n  d\ndef e(f): pass\n").mentions >= {"b", "e"}
    assert "c" not in scan(b"x = a.b(c)\n").mentions
    assert scan(b"from a import *\nx = b(c)\n").mentions >= {"b", "c"}


def test_classes_stand_with_the_words_of_their_bases() -> None:
    assert scan(b"class A(b.B, metaclass=M): pass\nclass C: pass\n").classes == ("A:b,B,metaclass,M",)


def test_bytes_that_are_no_text_are_scanned() -> None:
    assert scan(bytes(range(256)) + b"\nimport a\n").imports == ("a",)


@pytest.mark.parametrize(
    ("path", "packages", "names"),
    [
        ("a.py", (), ("a",)),
        ("src/shop/cart.py", ("src/shop",), ("src.shop.cart", "shop.cart")),
        ("src/shop/__init__.py", ("src/shop",), ("src.shop", "shop")),
        ("space/shop/cart.py", (), ("space.shop.cart", "shop.cart", "cart")),
        ("shop/cart.pyi", ("shop",), ("shop.cart",)),
        ("bin/script", (), ()),
    ],
)
def test_a_file_has_a_name_from_every_folder_that_is_no_package(
    path: str, packages: tuple[str, ...], names: tuple[str, ...]
) -> None:
    assert module_names(path, set(packages)) == names


def test_packages_are_folders_with_an_init_file() -> None:
    assert packages_of(["a/__init__.py", "b/c/__init__.pyi", "d.py"]) == {"a", "b/c"}


@pytest.mark.parametrize(
    ("imported", "modules"),
    [
        ("a.b", ["a", "a.b"]),
        ("a.b:c>d", ["a.b", "a.b.c"]),
        ("a:*", ["a"]),
        (".:c", ["/p.q", "/p.q.c"]),
        ("..x:c", ["/p.x", "/p.x.c"]),
    ],
)
def test_an_import_may_load_modules(imported: str, modules: list[str]) -> None:
    assert loads("p/q/r.py", imported) == modules


def graph(**files: str) -> Graph:
    return Graph({path.replace("__", "/") + ".py": scan(source.encode()) for path, source in files.items()})


def test_loaders_are_found_through_others_and_through_circles() -> None:
    found = graph(a="import b", b="import c", c="import a", d="import other").loaders(["c.py", "d.py"])
    assert found == {"a.py": 1, "b.py": 1, "c.py": 1}


def test_each_bit_says_which_file_is_loaded() -> None:
    assert graph(a="import b, c", b="", c="import b").loaders(["b.py", "c.py"]) == {"a.py": 3, "c.py": 1}


def test_a_file_is_scanned_once(tmp_path: Path) -> None:
    contents = {"1": b"import a", "2": b"x.y", "3": "import ä\nclass B(C, D): pass\n".encode("latin-1")}
    read: list[str] = []

    def reading(blob: str) -> bytes:
        read.append(blob)
        return contents[blob]

    def scans(*blobs: str) -> dict[str, Scan]:
        return scans_of(blobs, reading, Store(str(tmp_path)), "r")

    first, both, again = scans("1", "2"), scans("2", "3"), scans("2", "3")
    assert read == ["1", "2", "3"]
    assert both == again
    assert both["2"] == first["2"]
    assert both["3"].classes == ("B:C,D",)


def test_what_cannot_be_kept_or_read_is_done_without(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert set(scans_of(["1", "2"], {"1": b"import a"}.get, Store(str(tmp_path / "file")), "r")) == {"1"}
