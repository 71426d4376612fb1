import errno
import os
import stat
from pathlib import Path

import pytest

from clone.errors import DataError
from clone.workspace import Workspace, hold, make_private_folder, write_atomically


def test_folders_and_files_are_private_under_any_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        path = tmp_path / "a" / "b" / "c.txt"
        with write_atomically(path) as stream:
            stream.write("x")
        make_private_folder(tmp_path / "d" / "e")
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    for folder in (tmp_path / "a", tmp_path / "a" / "b", tmp_path / "d", tmp_path / "d" / "e"):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_a_write_that_fails_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "kept.json"
    path.write_text("before")

    def write() -> None:
        with write_atomically(path) as stream:
            stream.write("after")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        write()
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_is_explained(tmp_path: Path) -> None:
    path = tmp_path / "kept.json"
    path.write_text("before")
    with pytest.raises(DataError) as caught, write_atomically(path):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert caught.value.message == "the disk is full: kept.json could not be written."
    assert path.read_text() == "before"


def test_a_lock_is_held_by_one_and_let_go(tmp_path: Path) -> None:
    lock = tmp_path / "a" / ".lock"
    with hold(lock, DataError):
        with pytest.raises(DataError, match=str(os.getpid())), hold(lock, DataError):
            pass
        assert lock.stat().st_mode & 0o777 == 0o600
    with hold(lock, DataError):
        pass


def test_runs_are_found_and_bases_are_not(tmp_path: Path) -> None:
    for name in ("checkpoints/mine/20260101-000000", "checkpoints/base/org"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "run.json").write_text("{}")
    assert [run.name for run in Workspace(tmp_path).all_runs()] == ["20260101-000000"]
