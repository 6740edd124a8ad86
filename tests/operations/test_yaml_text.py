"""YAML as people would write it."""

from __future__ import annotations

import yaml

from asgi_ws_observe.operations.yaml_text import to_yaml

CONTENT = {"b": [{"expr": "sum(x)\n  > 1", "for": "5m"}, "on"], "a": "é"}


def test_content_is_written_in_its_order_with_blocks() -> None:
    """Queries of several lines stay readable."""
    assert "b:\n  - expr: |-\n      sum(x)\n        > 1\n    for: 5m\n  - 'on'\na: é\n" == to_yaml(
        CONTENT
    )


def test_content_is_read_as_it_was() -> None:
    """By any reader of YAML."""
    assert CONTENT == yaml.safe_load(to_yaml(CONTENT))
