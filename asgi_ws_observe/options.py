"""The kinds of value that a setting can have: how each is read from text, checked and described."""

from __future__ import annotations

import importlib
import inspect
import os
from collections.abc import Callable, Iterable
from typing import Any, Final

from .close_codes import CloseCodes
from .labels import safe_text

__all__ = [
    "Callback",
    "Choice",
    "DeclaredCodes",
    "ErrorCodes",
    "Kind",
    "Names",
    "Number",
    "Path",
    "Patterns",
    "Switch",
    "Text",
    "TokenOrCallback",
    "WordOrCallback",
    "WordOrDirectory",
]


#: What a float, and so the exposition, holds exactly.
_MOST: Final = 2**53


class Kind:
    """One kind of value.

    Attributes:
        accepts: What is accepted, as a phrase for error messages and the reference.
        optional: Whether `None` (an empty environment variable) is accepted and means "off".
    """

    accepts = ""

    def __init__(self, *, optional: bool = False) -> None:
        self.optional = optional

    def parse(self, text: str) -> Any:
        """Return the value that the text of an environment variable stands for, unchecked.

        Raises:
            ValueError: It stands for none; the message says why, or is empty.
        """
        return text.strip()

    def check(self, value: Any) -> Any:
        """Return the value in its final form.

        Raises:
            ValueError: The value is not of this kind.
        """
        raise NotImplementedError

    def describe(self) -> str:
        """Return the phrase for error messages and the reference."""
        return self.accepts + (", or None (empty) for none" if self.optional else "")


class Switch(Kind):
    """True or false."""

    accepts = "true or false (also 1, 0, yes, no, on, off)"
    _WORDS = {"true": True, "1": True, "yes": True, "on": True} | {
        "false": False,
        "0": False,
        "no": False,
        "off": False,
    }

    def parse(self, text: str) -> Any:
        return self._WORDS.get(text.strip().lower(), text)

    def check(self, value: Any) -> bool:
        if not isinstance(value, bool):
            raise ValueError
        return value


class Number(Kind):
    """A whole number or a number of seconds, with a smallest value."""

    def __init__(
        self, least: float, *, whole: bool = True, unit: str = "", optional: bool = False
    ) -> None:
        super().__init__(optional=optional)
        self._least = least
        self._type: type[int] | type[float] = int if whole else float
        self.accepts = (
            f"a {'whole ' if whole else ''}number{unit and ' of ' + unit}, {least} or more"
        )

    def parse(self, text: str) -> Any:
        try:
            return self._type(text)
        except ValueError:
            return text

    def check(self, value: Any) -> float:
        allowed = int if self._type is int else (int, float)
        if isinstance(value, bool) or not isinstance(value, allowed):
            raise ValueError
        # The first also fails for what is no number at all.
        if not self._least <= value <= _MOST:
            raise ValueError
        return self._type(value)


class Text(Kind):
    """A text that is not empty."""

    accepts = "a text"

    def check(self, value: Any) -> str:
        if not isinstance(value, str) or not value.strip():
            raise ValueError
        return safe_text(value.strip())


class Path(Kind):
    """The path of a route."""

    accepts = "a path that starts with /"

    def check(self, value: Any) -> str:
        if not isinstance(value, str) or not value.startswith("/"):
            raise ValueError
        return value


class Choice(Kind):
    """One of a few words."""

    def __init__(self, *words: str) -> None:
        super().__init__()
        self._words = words
        self.accepts = "one of " + ", ".join(words)

    def check(self, value: Any) -> str:
        # The word itself: a member of an enum is equal to it, and yet prints as something else.
        return self._words[self._words.index(value)]


class Patterns(Kind):
    """Several texts; from the environment, separated by commas."""

    accepts = "paths separated by commas, where * stands for anything"

    def parse(self, text: str) -> Any:
        return tuple(part.strip() for part in text.split(",") if part.strip())

    def check(self, value: Any) -> tuple[str, ...]:
        if isinstance(value, str) or not isinstance(value, Iterable):
            raise ValueError
        texts = tuple(value)
        if not all(isinstance(text, str) and text for text in texts):
            raise ValueError
        return texts


class Names(Patterns):
    """Several names; from the environment, separated by commas."""

    accepts = "names separated by commas"


class ErrorCodes(Kind):
    """Several close codes; from the environment, separated by commas."""

    accepts = "close codes from 1000 to 4999, separated by commas"

    def parse(self, text: str) -> Any:
        try:
            return tuple(int(part) for part in text.split(",") if part.strip())
        except ValueError:
            return text

    def check(self, value: Any) -> tuple[int, ...]:
        if isinstance(value, str) or not isinstance(value, Iterable):
            raise ValueError
        codes = tuple(value)
        whole = all(isinstance(code, int) and not isinstance(code, bool) for code in codes)
        if not whole or not all(1000 <= code <= 4999 for code in codes):
            raise ValueError
        return tuple(map(int, codes))


class DeclaredCodes(ErrorCodes):
    """The application's own close codes."""

    accepts = (
        f"at most {CloseCodes.max_declared()} close codes from 3000 to 4999, separated by commas"
    )

    def check(self, value: Any) -> tuple[int, ...]:
        codes = super().check(value)
        CloseCodes(codes)
        return codes


class Callback(Kind):
    """A function; from the environment, its import path."""

    accepts = "a plain function (in the environment its import path, package.module:name)"

    def parse(self, text: str) -> Any:
        module, _, name = text.strip().partition(":")
        try:
            found: Any = importlib.import_module(module)
            for part in name.split("."):
                found = getattr(found, part)
        except Exception as error:  # whatever the module itself does when it is imported
            raise ValueError(f"{type(error).__name__}: {error}") from error
        return found

    def check(self, value: Any) -> Callable[..., Any]:
        if not callable(value) or inspect.iscoroutinefunction(value):
            raise ValueError
        return value  # type: ignore[no-any-return]


class WordOrCallback(Callback):
    """One of a few words, or a function that returns one."""

    def __init__(self, *words: str) -> None:
        super().__init__()
        self._word = Choice(*words)
        self.accepts = f"{self._word.accepts}, or {Callback.accepts}"

    def parse(self, text: str) -> Any:
        return super().parse(text) if ":" in text else text.strip()

    def check(self, value: Any) -> Any:
        return self._word.check(value) if isinstance(value, str) else super().check(value)


class WordOrDirectory(Choice):
    """One of a few words, or the path of a directory."""

    def __init__(self, *words: str) -> None:
        super().__init__(*words)
        self.accepts += ", or the path of a directory (with a /)"

    def check(self, value: Any) -> str:
        text = os.fspath(value)
        return text if isinstance(text, str) and "/" in text else super().check(text)


class TokenOrCallback(Kind):
    """A bearer token or a function that decides."""

    accepts = "a bearer token, or a callable that gets the request's ASGI scope"

    def check(self, value: Any) -> str | Callable[..., Any]:
        if callable(value) or (isinstance(value, str) and value and value.isascii()):
            return value  # type: ignore[no-any-return]
        raise ValueError
