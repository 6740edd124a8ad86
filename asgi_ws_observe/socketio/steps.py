"""What is done around the library's own code, so that it can never change what that does."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING

from opentelemetry.context import Context

from ..tracing.contexts import attach, get_current

if TYPE_CHECKING:
    from typing_extensions import Self

    from .observer import Observer

__all__ = ["Step"]


class Step:
    """One thing that is observed: a context manager around the library's own code.

    Plain and coroutine functions are observed by the same steps. Failures of a step are reported
    and go no further; exceptions of the code inside come through as they are. What was current
    before is current again before the step ends, whatever that does.

    Args:
        observer: Whose.
    """

    __slots__ = ("_before", "_has_begun", "_observer")

    def __init__(self, observer: Observer) -> None:
        self._observer = observer
        self._has_begun = False
        self._before: Context | None = None

    def __enter__(self) -> Self:
        observer = self._observer
        if not observer.active:
            return self
        if observer.threaded:
            self._has_begun = observer.safely(self, self._begin)
            return self
        # What `safely` does, written out.
        try:
            self._begin()
            self._has_begun = True
        except Exception as error:  # noqa: BLE001
            observer.failed(error, self)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._before is not None:
            attach(self._before)
        if not self._has_begun:
            return
        observer = self._observer
        if observer.threaded:
            observer.safely(self, self._end, error)
            return
        try:
            self._end(error)
        except Exception as failure:  # noqa: BLE001
            observer.failed(failure, self)

    def _enter(self, context: Context) -> None:
        """Make a context current for the code inside; the last thing that `_begin` does."""
        self._before = get_current()
        attach(context)

    def _begin(self) -> None:
        """Take note of what is before."""

    def _end(self, error: BaseException | None) -> None:
        """Take note of what came of it."""
