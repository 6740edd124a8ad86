"""Where sibling workers meet: a directory that is theirs alone, and who their siblings are."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import re
import stat
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

from ..exceptions import ObserveError

try:
    import fcntl
except ImportError:  # pragma: no cover - Windows
    fcntl = None  # type: ignore[assignment]

__all__ = [
    "POSSIBLE",
    "has_another_child",
    "hold",
    "lock",
    "meeting_place",
    "remove",
    "supervisor",
    "sweep",
]

#: Whether this system has locks that end with their process.
POSSIBLE: Final = fcntl is not None

#: In the directory for temporary files; the user's id and the supervisor follow.
_PREFIX: Final = "asgi-ws-observe"
#: What the supervisors of uvicorn, hypercorn and granian start with `multiprocessing`; whoever
#: starts `uvicorn.run` so may have several applications.
_STARTED: Final = ("uvicorn._subprocess.", "hypercorn.", "granian.")
_DIGITS: Final = re.compile(r"\d+")


def lock(path: Path) -> int | None:
    """Return the file, locked by nobody else, or `None` where somebody has it.

    Raises:
        OSError: It cannot be opened.
    """
    file = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(file)
        return None
    return file


def hold(directory: Path) -> int:
    """Make the directory if need be and return it, locked together with the siblings.

    Raises:
        OSError: That is not possible.
        ObserveError: It is not this user's alone.
    """
    while True:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        held = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            found = os.fstat(held)
            if not _is_ours(found):
                raise ObserveError(f"{directory} is not this user's alone (mode 0700)")
            fcntl.flock(held, fcntl.LOCK_SH)
            # Somebody may have removed it in between.
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(found, directory.stat()):
                    return held
        except BaseException:
            os.close(held)
            raise
        os.close(held)


def _is_ours(found: os.stat_result) -> bool:
    return found.st_uid == os.geteuid() and not stat.S_IMODE(found.st_mode) & 0o077


def remove(directory: Path, held: int) -> None:
    """Remove a directory that nobody else holds, and no other that is in its place by now."""
    with contextlib.suppress(OSError):
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        for name in os.listdir(held):
            os.unlink(name, dir_fd=held)
        directory.rmdir()


def supervisor() -> int | None:
    """Return the process that started this one as one of several workers, as far as known."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        target: Any = getattr(multiprocessing.current_process(), "_target", None)
        module = str(getattr(target, "__module__", "")) + "."
        return parent.pid if module.startswith(_STARTED) else None
    # gunicorn forks; whoever is forked by one of its workers has a parent process.
    return os.getppid() if "gunicorn.arbiter" in sys.modules else None


def has_another_child(supervisor: int) -> bool:
    """Return whether a process has a child that runs what this one runs, as far as known."""
    try:
        found = Path(f"/proc/{supervisor}/task/{supervisor}/children").read_text(encoding="ascii")
    except OSError:  # pragma: no cover - not Linux, or a kernel that does not say
        return False
    ours = _command_of(os.getpid())
    return any(
        _command_of(int(child)) == ours for child in found.split() if int(child) != os.getpid()
    )


def _command_of(process: int) -> str | None:
    """Return a process's command line without the numbers in it, which `multiprocessing` gives."""
    try:
        text = Path(f"/proc/{process}/cmdline").read_text(encoding="utf-8", errors="replace")
    except OSError:  # it has ended
        return None
    return _DIGITS.sub("", text)


def meeting_place(supervisor: int) -> Path:
    """Return the directory of a supervisor's workers, which no later process shares."""
    try:
        # Field 22, counted after the name, which may contain anything.
        status = Path(f"/proc/{supervisor}/stat").read_text(encoding="utf-8", errors="replace")
        began = status.rpartition(")")[2].split()[19]
    except OSError:  # pragma: no cover - not Linux
        began = "0"
    name = f"{_PREFIX}-{os.geteuid()}-{supervisor}-{began}"
    return Path(tempfile.gettempdir()) / name


def sweep(place: Path) -> None:
    """Remove what workers left behind that were all killed."""
    for path in place.parent.glob(f"{_PREFIX}-{os.geteuid()}-*"):
        if path != place:
            with contextlib.suppress(OSError):
                held = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
                try:
                    if _is_ours(os.fstat(held)):
                        remove(path, held)
                finally:
                    os.close(held)
