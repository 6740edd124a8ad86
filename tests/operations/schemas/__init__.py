"""JSON schemas of files that nothing here can run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

__all__ = ["errors", "errors_of_kind"]


def errors(name: str, content: Any, reference: str = "") -> list[str]:
    """Return what a schema finds wrong, each with its place.

    Args:
        name: The schema's file.
        content: What is to be looked at.
        reference: A part of the schema, such as ``#/$defs/name``. Default: all of it.
    """
    schema = json.loads((Path(__file__).parent / name).read_text(encoding="utf-8"))
    if reference:
        schema = {"$ref": reference, "$defs": schema["$defs"], "$schema": schema["$schema"]}
    Draft202012Validator.check_schema(schema)
    found = Draft202012Validator(schema).iter_errors(content)
    return [f"{error.json_path}: {error.message}" for error in found]


def errors_of_kind(name: str, manifest: Any) -> list[str]:
    """Return what a schema of Kubernetes' objects finds wrong with one."""
    schema = json.loads((Path(__file__).parent / name).read_text(encoding="utf-8"))
    return errors(name, manifest, schema["kinds"][manifest["kind"]])
