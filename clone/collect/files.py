"""What a path given to --from holds: one file, a folder of them, or an archive (.zip, .xz, .gz) of them.

Nothing is unpacked to the disk, and no name inside an archive is ever used as a path.
"""

from __future__ import annotations

import gzip
import hashlib
import lzma
import re
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta, timezone, tzinfo
from pathlib import Path, PurePosixPath
from typing import IO, cast
from zoneinfo import ZoneInfo

from clone.errors import SourceError
from clone.workspace import hash_file

HEAD_BYTES = 1 << 16
_TEXTS = (".json", ".txt")
READ_ERRORS = (zipfile.BadZipFile, lzma.LZMAError, gzip.BadGzipFile, zlib.error, EOFError, NotImplementedError)


@dataclass(frozen=True, slots=True)
class Part:
    """One text file of what was given."""

    name: str  # as the person would find it; "/" between folders
    place: str  # the same with all that stands before it
    size: int | None  # bytes, None where only reading tells
    open: Callable[[], IO[bytes]]

    @property
    def file_name(self) -> str:
        return PurePosixPath(self.name).name

    def head(self) -> str:
        """Return the first characters. Raises SourceError where the archive around them is damaged."""
        try:
            with self.open() as stream:
                return stream.read(HEAD_BYTES).decode("utf-8-sig", errors="replace")
        except READ_ERRORS as error:
            raise damaged(self.name) from error


@contextmanager
def parts_of(path: Path) -> Iterator[list[Part]]:
    """Open `path` and yield the texts in it. Where a folder holds a result.json, that is the only one: everything
    else there is what people sent each other."""
    if not path.exists():
        raise SourceError(f"there is no file {path}.", "Check the path; quote it if it has spaces.")
    ending = path.suffix.lower()
    try:
        if path.is_dir():
            files = sorted(file for file in path.rglob("*") if file.is_file() and file.suffix.lower() in _TEXTS)
            named = [(file, f"{path.name}/{file.relative_to(path).as_posix()}") for file in files]
            yield _main_ones([_plain(file, name) for file, name in named], path)
        elif ending == ".zip":
            with zipfile.ZipFile(path) as archive:
                members = [m for m in archive.infolist() if PurePosixPath(m.filename).suffix.lower() in _TEXTS]
                yield _main_ones([_member(archive, member, path) for member in members], path)
        elif ending == ".xz":
            yield [_packed(path, lzma.LZMAFile)]
        elif ending == ".gz":
            yield [_packed(path, gzip.GzipFile)]
        else:
            yield [_plain(path, path.name)]
    except zipfile.BadZipFile as error:
        raise damaged(path.name) from error
    except PermissionError as error:
        raise SourceError(f"{path.name} may not be read.", "Check who owns it.") from error


def damaged(name: str) -> SourceError:
    """Return the explanation of an archive that cannot be unpacked."""
    return SourceError(f"{name} is damaged and cannot be unpacked.", "Copy or download it again.")


def _plain(path: Path, name: str) -> Part:
    return Part(name, str(path.absolute()), path.stat().st_size, lambda: path.open("rb"))


def _packed(path: Path, kind: type[lzma.LZMAFile] | type[gzip.GzipFile]) -> Part:
    return Part(path.stem, str(path.with_suffix("").absolute()), None, lambda: cast(IO[bytes], kind(path)))


def _member(archive: zipfile.ZipFile, member: zipfile.ZipInfo, path: Path) -> Part:
    if member.flag_bits & 1:
        raise SourceError(f"{path.name} has a password.", "Unpack it and give the folder.")
    name = f"{path.name}/{member.filename}"
    return Part(name, str(path.absolute().parent / name), member.file_size, lambda: archive.open(member))


def _main_ones(parts: list[Part], path: Path) -> list[Part]:
    if not parts:
        raise SourceError(f"{path.name} holds no .json or .txt file.", "Give the file that was exported.")
    results = [part for part in parts if part.file_name == "result.json" and part.name.count("/") <= 2]
    return results or parts


def fingerprint(path: Path) -> str:
    """Return what changes when a file does, or the names and sizes of the texts in a folder."""
    if not path.is_dir():
        return hash_file(path)
    with parts_of(path) as parts:
        listing = "\n".join(f"{part.name}\t{part.size}" for part in parts)
    return hashlib.sha256(listing.encode("utf-8", "surrogateescape")).hexdigest()


def zone(name: str) -> tzinfo:
    """Return a time zone by its name or as an offset ("+02:00"). Raises SourceError where there is none such."""
    offset = re.fullmatch(r"(?:UTC)?([+-])(\d{1,2}):?(\d{2})?", name)
    if offset and int(offset[2]) < 24 and int(offset[3] or 0) < 60:
        minutes = int(offset[2]) * 60 + int(offset[3] or 0)
        return timezone(timedelta(minutes=minutes if offset[1] == "+" else -minutes))
    try:
        return ZoneInfo(name)
    except (ValueError, OSError, KeyError):
        hint = "Name one as Europe/Berlin, or an offset as +02:00."
        raise SourceError(f"there is no time zone '{name}'.", hint) from None
