"""What OpenTelemetry's own environment variables ask for: excluded URLs and captured headers."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, MutableMapping
from typing import Any, Final, TypeVar

from opentelemetry.instrumentation.asgi import (
    collect_custom_headers_attributes,
    get_host_port_url_tuple,
)
from opentelemetry.instrumentation.utils import is_http_instrumentation_enabled
from opentelemetry.util.http import (
    SanitizeValue,
    get_custom_headers,
    get_excluded_urls,
    normalise_request_header_name,
    normalise_response_header_name,
)

from ..exceptions import SettingsError
from ..labels import safe_text

__all__ = ["Environment"]

_CAPTURE: Final = "OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_"
# Whatever a client sends, and whatever pattern takes it.
_MAX_HEADERS: Final = 32
_MAX_VALUES: Final = 8

Made = TypeVar("Made")


class Environment:
    """Reads the variables once.

    ``OTEL_PYTHON_WEBSOCKET_EXCLUDED_URLS`` (else ``OTEL_PYTHON_EXCLUDED_URLS``) and
    ``OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_SERVER_REQUEST``, ``..._SERVER_RESPONSE`` and
    ``..._SANITIZE_FIELDS``: regular expressions, separated by commas.

    Raises:
        SettingsError: One is no regular expression.
    """

    def __init__(self) -> None:
        own, general = "OTEL_PYTHON_WEBSOCKET_EXCLUDED_URLS", "OTEL_PYTHON_EXCLUDED_URLS"
        variable = own if own in os.environ else general
        # Without patterns no connection's URL need be put together.
        given = bool(os.environ.get(variable))
        self._excluded = _read(variable, lambda: get_excluded_urls("WEBSOCKET")) if given else None
        self._request, self._response = (
            _patterns(_CAPTURE + side) for side in ("SERVER_REQUEST", "SERVER_RESPONSE")
        )
        fields = _CAPTURE + "SANITIZE_FIELDS"
        self._sanitize = _read(fields, lambda: SanitizeValue(get_custom_headers(fields)))

    def excludes(self, scope: MutableMapping[str, Any]) -> bool:
        """Return whether a connection is not to be traced."""
        if not is_http_instrumentation_enabled():
            return True
        if self._excluded is None:
            return False
        try:
            url = get_host_port_url_tuple(scope)[2]  # type: ignore[no-untyped-call]
            return bool(self._excluded.url_disabled(url))
        except Exception:  # noqa: BLE001 - a header that cannot be decoded
            return False

    def request_headers(self, scope: MutableMapping[str, Any]) -> dict[str, Any]:
        """Return the attributes of the upgrade's headers that are asked for."""
        return self._captured(scope.get("headers"), self._request, normalise_request_header_name)

    def response_headers(self, headers: Iterable[Any]) -> dict[str, Any]:
        """Return the attributes of the answer's headers that are asked for."""
        return self._captured(headers, self._response, normalise_response_header_name)

    def _captured(
        self, headers: Any, patterns: list[str], normalise: Callable[[str], str]
    ) -> dict[str, Any]:
        if not patterns or not headers:
            return {}
        try:
            found = collect_custom_headers_attributes(
                {"headers": headers}, self._sanitize, patterns, normalise
            )
        except Exception:  # noqa: BLE001 - a header that cannot be decoded
            return {}
        return {
            safe_text(name, 128): [safe_text(value) for value in found[name][:_MAX_VALUES]]
            for name in list(found)[:_MAX_HEADERS]
        }


def _patterns(variable: str) -> list[str]:
    patterns: list[str] = get_custom_headers(variable)
    _read(variable, lambda: re.compile("|".join(patterns)))
    return patterns


def _read(variable: str, make: Callable[[], Made]) -> Made:
    try:
        return make()
    except re.error as error:
        raise SettingsError(
            f"the environment variable {variable}: got a pattern that is no regular expression "
            f"({safe_text(error)}); accepted: regular expressions separated by commas"
        ) from None
