"""Where things lie: every path of a workspace, and the two ways a file comes into being.

A workspace is a folder with `data/raw`, `data/processed`, `checkpoints` and, if wanted, `pipelines`. Knows nothing of
what stands in the files.
"""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal, overload

from clone.errors import CloneError, DataError

PRIVATE_FOLDER = 0o700
PRIVATE_FILE = 0o600


@dataclass(frozen=True, slots=True)
class Workspace:
    """The folder in which one person's clone is made."""

    root: Path

    @classmethod
    def here(cls, root: Path | None = None) -> Workspace:
        """Return the workspace in `root`, or in the current folder."""
        return cls((root or Path.cwd()).resolve())

    @property
    def raw(self) -> Path:
        return self.root / "data" / "raw"

    @property
    def archive(self) -> Path:
        """The message store, written by collect alone."""
        return self.raw / "archive.sqlite"

    @property
    def telegram(self) -> Path:
        """Session and credentials of the Telegram account."""
        return self.raw / "telegram"

    @property
    def key(self) -> Path:
        """The secret from which pseudonyms are derived; never leaves the workspace."""
        return self.raw / "pseudonyms.key"

    @property
    def privacy(self) -> Path:
        """The person's own lists: contacts to leave out, words to mask or to keep."""
        return self.raw / "privacy.yaml"

    def processed(self, recipe_name: str) -> Path:
        return self.root / "data" / "processed" / recipe_name

    def prepare_lock(self, recipe_name: str) -> Path:
        """The file that whoever changes `processed(recipe_name)` holds."""
        return self.root / "data" / "processed" / f".{recipe_name}.lock"

    @property
    def bases(self) -> Path:
        return self.root / "checkpoints" / "base"

    def runs(self, recipe_name: str) -> Path:
        return self.root / "checkpoints" / recipe_name

    @property
    def transcripts(self) -> Path:
        """Conversations with the twin."""
        return self.root / "data" / "chats.sqlite"

    def all_runs(self) -> list[Path]:
        """Return the folders of finished runs of every recipe, oldest first."""
        found = self.root.glob("checkpoints/*/*/run.json")
        return sorted((path.parent for path in found if path.parts[-3] != "base"), key=lambda run: run.name)

    def all_processed(self) -> list[Path]:
        """Return the folders of complete processed data, by name."""
        return sorted(path.parent for path in self.root.glob("data/processed/*/manifest.json"))

    def show(self, path: Path) -> str:
        """Return `path` as a person in the workspace would type it."""
        try:
            return str(path.relative_to(self.root))
        except ValueError:
            return str(path)


def make_private_folder(path: Path) -> Path:
    """Create `path` and what is missing above it, readable by its owner alone, and return it."""
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    for folder in reversed(missing):
        folder.mkdir(mode=PRIVATE_FOLDER, exist_ok=True)
        folder.chmod(PRIVATE_FOLDER)  # mkdir's mode is cut by the umask
    return path


@overload
def write_atomically(path: Path) -> AbstractContextManager[IO[str]]: ...
@overload
def write_atomically(path: Path, *, binary: Literal[True]) -> AbstractContextManager[IO[bytes]]: ...
def write_atomically(path: Path, *, binary: bool = False) -> AbstractContextManager[IO[Any]]:
    """Open a temporary neighbour of `path` (mode 0600); on leaving, sync it and rename it over `path`.

    On an exception the neighbour is removed and `path` is as before. A full disk is a `DataError`.
    """
    return _write_atomically(path, binary)


@contextmanager
def _write_atomically(path: Path, binary: bool) -> Iterator[IO[Any]]:
    try:
        make_private_folder(path.parent)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # 0600 from the first byte
    except OSError as error:
        raise disk_error(error, path) from error
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb" if binary else "w", encoding=None if binary else "utf-8") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise disk_error(error, path) from error
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


@contextmanager
def hold(path: Path, busy: Callable[[str], CloneError]) -> Iterator[None]:
    """Hold the lock file `path` for this process alone; it goes with the process, however that ends.

    Raises at once what `busy` makes of the id of the process that holds it.
    """
    import fcntl

    make_private_folder(path.parent)
    handle = os.open(path, os.O_RDWR | os.O_CREAT, PRIVATE_FILE)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise busy(os.read(handle, 20).decode("ascii", "replace").strip() or "?") from None
        os.ftruncate(handle, 0)
        os.pwrite(handle, str(os.getpid()).encode("ascii"), 0)
        yield
    finally:
        os.close(handle)


def sync_folder(path: Path) -> None:
    """Make a rename inside `path` survive a power cut."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def disk_error(error: OSError, path: Path) -> DataError:
    """Return the explanation of a failed write."""
    if error.errno == 28:  # ENOSPC
        return DataError(
            f"the disk is full: {path.name} could not be written.",
            "Free some space and run the same command again; what was there before is untouched.",
        )
    return DataError(f"{path.name} could not be written: {error.strerror}.", f"Check {path.parent}.")


def hash_file(path: Path) -> str:
    """Return the SHA-256 of a file, in hex."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def is_plain_name(name: str) -> bool:
    """Whether `name` can be a folder's name everywhere."""
    return re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", name) is not None
