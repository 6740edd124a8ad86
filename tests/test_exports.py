"""What the package exports: it exists, is documented, and is what the design pins."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import types
from pathlib import Path
from typing import Any

import pytest

import asgi_ws_observe

MODULES = [
    "asgi_ws_observe",
    *(
        found.name
        for found in pkgutil.walk_packages(asgi_ws_observe.__path__, "asgi_ws_observe.")
        if not found.name.endswith("__main__")
    ),
]

#: What users type, by the design: a name that leaves this list breaks their applications.
PINNED = {
    "ConnectionHook",
    "Settings",
    "SettingsError",
    "WebSocketObserveMiddleware",
    "current_connection",
    "current_message",
    "mount_metrics",
    "observe",
}


def is_definition(value: Any) -> bool:
    """Return whether it is a class or a function, and no alias such as ``tuple[int, str]``."""
    if isinstance(value, types.GenericAlias):
        return False
    return inspect.isclass(value) or inspect.isfunction(value)


def definitions(module: types.ModuleType) -> dict[str, Any]:
    """Return the exported classes and functions of a module."""
    found = {name: getattr(module, name) for name in getattr(module, "__all__", ())}
    return {name: value for name, value in found.items() if is_definition(value)}


@pytest.mark.parametrize("name", MODULES)
def test_exported_names_exist(name: str) -> None:
    """Everything in ``__all__`` can be imported from its module."""
    module = importlib.import_module(name)
    missing = [each for each in getattr(module, "__all__", ()) if not hasattr(module, each)]
    assert [] == missing


@pytest.mark.parametrize("name", MODULES)
def test_exported_names_are_unique(name: str) -> None:
    """No name stands twice in ``__all__``."""
    exported = list(getattr(importlib.import_module(name), "__all__", ()))
    assert sorted(set(exported)) == sorted(exported)


@pytest.mark.parametrize("name", MODULES)
def test_module_has_docstring_and_exports(name: str) -> None:
    """A module says what it is for, and one that defines something says what it exports."""
    module = importlib.import_module(name)
    tree = ast.parse(Path(str(module.__file__)).read_text(encoding="utf-8"))
    defines = any(isinstance(node, (ast.ClassDef, ast.FunctionDef)) for node in tree.body)
    assert (module.__doc__ or "").strip()
    assert not defines or hasattr(module, "__all__")


@pytest.mark.parametrize("name", MODULES)
def test_exported_definition_has_docstring(name: str) -> None:
    """Every exported class and function is documented, and not only by what it inherits."""
    module = importlib.import_module(name)
    undocumented = [each for each, value in definitions(module).items() if not value.__doc__]
    assert [] == undocumented


def test_public_method_has_docstring() -> None:
    """Every public method of an exported class is documented, by itself or by its base."""
    undocumented = [
        f"{name}.{method}"
        for name, value in definitions(asgi_ws_observe).items()
        if inspect.isclass(value)
        for method, function in vars(value).items()
        if not method.startswith("_")
        and inspect.isfunction(function)
        and not inspect.getdoc(getattr(value, method))
    ]
    assert [] == undocumented


def test_pinned_names_are_exported() -> None:
    """The names that users type are in the package itself."""
    assert set() == PINNED - set(asgi_ws_observe.__all__)


def test_package_names_nothing_private() -> None:
    """The package exports no name with an underscore but its version."""
    private = [name for name in asgi_ws_observe.__all__ if name.startswith("_")]
    assert ["__version__"] == private


def test_version_is_semantic() -> None:
    """The version has three numbers."""
    assert 3 == len([int(part) for part in asgi_ws_observe.__version__.split(".")])
