"""The import law: dependencies point downwards, and the package loads nothing optional."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import asgi_ws_observe

PACKAGE = "asgi_ws_observe"
ROOT = Path(str(asgi_ws_observe.__file__)).parent

#: Lowest first. A name stands for the module or package itself; ``name.*`` for all that is in it.
LAYERS: tuple[tuple[str, frozenset[str]], ...] = (
    (
        "pure",
        frozenset(
            {
                *("close_codes", "labels", "settings", "options", "exceptions", "locks"),
                # What the system says about sockets.
                *("kernel", "netlink", "sockets"),
            }
        ),
    ),
    (
        "record",
        frozenset(
            {
                *("states", "buckets", "fanout_numbers", "socketio_numbers", "store", "hooks"),
                *("observation", "probe", "traffic", "connection", "current"),
            }
        ),
    ),
    (
        "readers",
        frozenset(
            {
                *("metrics", "metrics.catalogue", "metrics.prometheus", "metrics.formats"),
                *("metrics.instruments", "metrics.of_connections", "metrics.of_network"),
                *("metrics.of_errors", "metrics.of_fanout", "metrics.of_process"),
                *("metrics.of_socketio", "metrics.of_engineio"),
                *("metrics.prepared", "metrics.exposition", "metrics.pace", "metrics.points"),
                *("metrics.otlp", "tracing", "tracing.*", "logs"),
            }
        ),
    ),
    # How the shell reads a server; it knows the record only.
    ("transports", frozenset({"transports", "transports.*"})),
    (
        "shell",
        frozenset(
            {
                *(
                    "middleware",
                    "runtime",
                    "timers",
                    "looks",
                    "heartbeats",
                    "rounds",
                    "metrics.endpoint",
                    "metrics.workers",
                    "metrics.places",
                    "channel",
                ),
                "application",
            }
        ),
    ),
    # What users import: it names the layers below and adds nothing.
    ("package", frozenset({""})),
    (
        "edges",
        frozenset(
            name
            for edge in (
                *("fanout", "socketio", "client", "console"),
                *("operations", "cli", "instrumentor", "drain", "__main__"),
            )
            for name in (edge, f"{edge}.*")
        ),
    ),
)
RANKS = {name: rank for rank, (name, _) in enumerate(LAYERS)}

#: What `import asgi_ws_observe` must not load.
OPTIONAL = (
    *("fastapi", "redis", "nats", "socketio", "opentelemetry.sdk"),
    *("opentelemetry.exporter", "click", "rich", "httpx", "structlog"),
)
#: What it must not even look for: a server is known by names only.
SERVERS = (
    *("uvicorn", "websockets", "wsproto", "hypercorn", "daphne", "granian", "twisted", "autobahn"),
)


def layer_of(module: str) -> str | None:
    """Return the layer of a module named below the package, `None` where it has none."""
    top = module.partition(".")[0]
    for layer, names in LAYERS:
        if module in names or f"{top}.*" in names:
            return layer
    return None


def reader_of(module: str) -> str:
    """Return which of the three readers a module of that layer belongs to."""
    return module.partition(".")[0]


def modules() -> dict[str, Path]:
    """Return every module of the package, named below it (the package itself is empty)."""
    found = {}
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def is_type_checking(node: ast.AST) -> bool:
    """Return whether it is ``if TYPE_CHECKING:``."""
    return isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")


def import_nodes(node: ast.AST) -> Iterator[ast.Import | ast.ImportFrom]:
    """Yield the imports, those inside functions too, but not those for type checkers only."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, (ast.Import, ast.ImportFrom)):
            yield child
        elif is_type_checking(child):
            assert isinstance(child, ast.If)
            for other in child.orelse:
                yield from import_nodes(ast.Module([other], []))
        else:
            yield from import_nodes(child)


def imported(source: str, module: str, *, is_package: bool, known: frozenset[str]) -> set[str]:
    """Return which modules of the package a source imports, named below the package."""
    found: set[str] = set()
    absolute = f"{PACKAGE}.{module}".rstrip(".").split(".")
    for node in import_nodes(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            kept = len(absolute) - node.level + (1 if is_package else 0)
            base = absolute[:kept] if node.level else []
            origin = ".".join([*base, *((node.module or "").split(".") if node.module else [])])
            # The version is set before the package imports anything, and is no dependency.
            wanted = [
                alias.name
                for alias in node.names
                if (origin, alias.name) != (PACKAGE, "__version__")
            ]
            names = [
                f"{origin}.{each}"
                if f"{origin}.{each}".removeprefix(f"{PACKAGE}.") in known
                else origin
                for each in wanted
            ]
        found.update(
            name.removeprefix(PACKAGE).removeprefix(".")
            for name in names
            if name == PACKAGE or name.startswith(f"{PACKAGE}.")
        )
    return found


def offences(module: str, targets: set[str]) -> list[str]:
    """Return a sentence for each import that the law forbids."""
    own = layer_of(module)
    if own is None:
        return [f"{module} has no layer: add it to LAYERS in tests/test_imports.py"]
    found = []
    for target in sorted(targets):
        layer = layer_of(target)
        if layer is None:
            found.append(f"{target} has no layer: add it to LAYERS in tests/test_imports.py")
        elif RANKS[layer] > RANKS[own]:
            found.append(f"{module} ({own}) imports {target or PACKAGE} ({layer}), which is above")
        elif own == layer == "readers" and reader_of(module) != reader_of(target):
            found.append(f"{module} imports {target}: readers never import each other")
        elif own == "transports" and layer == "readers":
            found.append(f"{module} imports {target}: transports know the record only")
    return found


@pytest.mark.parametrize("module", modules())
def test_module_obeys_the_import_law(module: str) -> None:
    """A module has a layer and imports only from it and from lower ones."""
    path = modules()[module]
    targets = imported(
        path.read_text(encoding="utf-8"),
        module,
        is_package=path.name == "__init__.py",
        known=frozenset(modules()),
    )
    assert [] == offences(module, targets)


def test_every_module_is_looked_at() -> None:
    """The law is held against the whole package, not against an empty list."""
    assert {"", "connection", "metrics.catalogue", "tracing.spans"} <= set(modules())


def test_layers_name_no_module_twice() -> None:
    """A module is in one layer only."""
    names = [name for _, layer in LAYERS for name in layer]
    assert sorted(set(names)) == sorted(names)


@pytest.mark.parametrize(
    ("module", "source", "expected"),
    [
        ("logs", "from .connection import Connection", {"connection"}),
        ("logs", "from . import connection", {"connection"}),
        ("logs", "from . import __version__", set()),
        ("logs", "from . import observe", {""}),
        ("logs", "import asgi_ws_observe.middleware", {"middleware"}),
        ("logs", "import asgi_ws_observe", {""}),
        ("logs", "from asgi_ws_observe.tracing import spans", {"tracing.spans"}),
        ("logs", "def lazy():\n    from .middleware import x", {"middleware"}),
        ("logs", "try:\n    from . import runtime\nexcept ImportError:\n    pass", {"runtime"}),
        ("logs", "import orjson\nfrom starlette.types import Scope", set()),
        ("logs", "import asgi_ws_observer", set()),
        ("logs", "if TYPE_CHECKING:\n    from .middleware import x", set()),
        ("logs", "if typing.TYPE_CHECKING:\n    from .middleware import x", set()),
        (
            "logs",
            "if TYPE_CHECKING:\n    from . import runtime\nelse:\n    from .middleware import x",
            {"middleware"},
        ),
        ("tracing.spans", "from ..connection import Connection", {"connection"}),
        ("tracing.spans", "from .attributes import x", {"tracing.attributes"}),
        ("tracing.spans", "from .. import logs", {"logs"}),
    ],
)
def test_imports_are_found(module: str, source: str, expected: set[str]) -> None:
    """Every way to write an import inside the package is seen."""
    known = frozenset(modules())
    assert expected == imported(source, module, is_package=False, known=known)


def test_imports_of_a_package_are_found() -> None:
    """A dot in an ``__init__`` means the package itself."""
    found = imported(
        "from .spans import x\nfrom .. import logs",
        "tracing",
        is_package=True,
        known=frozenset(modules()),
    )
    assert {"tracing.spans", "logs"} == found


@pytest.mark.parametrize(
    ("module", "target", "expected"),
    [
        ("labels", "store", "labels (pure) imports store (record), which is above"),
        ("connection", "logs", "connection (record) imports logs (readers), which is above"),
        (
            "metrics.catalogue",
            "metrics.endpoint",
            "metrics.catalogue (readers) imports metrics.endpoint (shell), which is above",
        ),
        ("runtime", "", "runtime (shell) imports asgi_ws_observe (package), which is above"),
        ("middleware", "cli", "middleware (shell) imports cli (edges), which is above"),
        ("", "fanout.redis", " (package) imports fanout.redis (edges), which is above"),
        ("logs", "tracing.spans", "logs imports tracing.spans: readers never import each other"),
        (
            "tracing.spans",
            "metrics.prometheus",
            "tracing.spans imports metrics.prometheus: readers never import each other",
        ),
        (
            "connection",
            "transports",
            "connection (record) imports transports (transports), which is above",
        ),
        (
            "logs",
            "transports.base",
            "logs (readers) imports transports.base (transports), which is above",
        ),
        (
            "transports.base",
            "looks",
            "transports.base (transports) imports looks (shell), which is above",
        ),
        (
            "transports.uvicorn",
            "",
            "transports.uvicorn (transports) imports asgi_ws_observe (package), which is above",
        ),
        (
            "transports",
            "logs",
            "transports imports logs: transports know the record only",
        ),
        (
            "logs",
            "novel",
            "novel has no layer: add it to LAYERS in tests/test_imports.py",
        ),
        ("novel", "labels", "novel has no layer: add it to LAYERS in tests/test_imports.py"),
    ],
)
def test_forbidden_import_is_named(module: str, target: str, expected: str) -> None:
    """The law finds what it forbids and says what to do."""
    assert [expected] == offences(module, {target})


@pytest.mark.parametrize(
    ("module", "target"),
    [
        ("connection", "store"),
        ("connection", "labels"),
        ("metrics.prometheus", "metrics.catalogue"),
        ("metrics.endpoint", "metrics.prometheus"),
        ("", "application"),
        ("cli", "operations.signals"),
        ("fanout.redis", ""),
        ("transports.uvicorn", "connection"),
        ("transports.uvicorn", "transports.base"),
        ("transports.granian", "sockets"),
        ("middleware", "transports"),
    ],
)
def test_allowed_import_passes(module: str, target: str) -> None:
    """Downwards, and inside a layer, everything may be imported."""
    assert [] == offences(module, {target})


@pytest.mark.parametrize("package", [PACKAGE, f"{PACKAGE}.fanout"])
def test_import_loads_nothing_optional(package: str) -> None:
    """`import asgi_ws_observe` leaves every optional package alone; so does what needs none."""
    program = (
        f"import json, sys, {package}\n"
        f"print(json.dumps([name for name in {OPTIONAL!r} if name in sys.modules]))"
    )
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    assert [] == json.loads(run.stdout)


def test_import_looks_for_no_server() -> None:
    """Neither does any module of the package, whether a server is installed or not."""
    names = [f"{PACKAGE}.{each}".rstrip(".") for each in modules() if each != "__main__"]
    program = (
        "import importlib, json, sys\n"
        "class Search:\n"
        "    found = []\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name.partition('.')[0] in {SERVERS!r}:\n"
        "            self.found.append(name)\n"
        "sys.meta_path.insert(0, Search())\n"
        f"for name in {names!r}:\n"
        "    importlib.import_module(name)\n"
        "print(json.dumps(Search.found))"
    )
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    assert [] == json.loads(run.stdout)
