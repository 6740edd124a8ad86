"""Which functions make a context current."""

from __future__ import annotations

from types import SimpleNamespace

from opentelemetry import context as otel_context

from asgi_ws_observe.tracing import contexts


def test_functions_do_what_those_of_the_api_do() -> None:
    """What one side attaches, the other sees."""
    before = otel_context.get_current()
    given = otel_context.set_value("key", "value", before)
    contexts.attach(given)
    assert otel_context.get_current() is given
    otel_context.attach(before)
    assert contexts.get_current() is before


def test_api_without_its_variable_is_used_as_it_is() -> None:
    """A later version may keep the current context elsewhere."""
    api = SimpleNamespace(attach=print, get_current=dict)
    assert (print, dict) == contexts._direct(api)
