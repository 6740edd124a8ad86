"""What is done around the library's own code, so that it can never change what that does."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing_extensions import Self

    from .observer import Observer

__all__ = ["Step"]


class Step:
    """One thing that is observed: a context manager around the library's own code.

    Plain and coroutine functions are observed by the same steps. Failures of a step are reported
    and go no further; exceptions of the code inside come through as they are.

    Args:
        observer: Whose.
    """

    __slots__ = ("_has_begun", "_observer")

    def __init__(self, observer: Observer) -> None:
        self._observer = observer
        self._has_begun = False

    def __enter__(self) -> Self:
        if self._observer.active:
            self._has_begun = self._observer.safely(self, self._begin)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._has_begun:
            self._observer.safely(self, self._end, error)

    def _begin(self) -> None:
        raise NotImplementedError

    def _end(self, error: BaseException | None) -> None:
        raise NotImplementedError
