# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Files and folders that appear whole or not at all, with the rights that the umask leaves."""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Callable
from typing import TypeVar

_Made = TypeVar("_Made")

#: The file that lists a folder's others, as ``sha256sum`` does.
SUMS = "SHA256SUMS"


def _with_new_name(directory: str, prefix: str, make: Callable[[str], _Made]) -> tuple[str, _Made]:
    """(a path in `directory` that nothing had, what `make` makes of it)."""
    while True:
        path = os.path.join(directory, f".{prefix}.{secrets.token_hex(6)}")
        try:
            return path, make(path)
        except FileExistsError:
            continue


def new_directory(parent: str) -> str:
    """An empty folder with a name of its own."""
    return _with_new_name(parent, "new", lambda path: os.mkdir(path))[0]


def new_name(parent: str) -> str:
    """A path that nothing has."""
    path = new_directory(parent)
    os.rmdir(path)
    return path


def write_whole(directory: str, name: str, contents: str | bytes) -> None:
    """Writes a file, or leaves the one that there was."""
    data = contents if isinstance(contents, bytes) else contents.encode()
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    temporary, handle = _with_new_name(
        directory, name, lambda path: os.open(path, flags, 0o666)
    )
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
        os.replace(temporary, os.path.join(directory, name))
    except BaseException:
        os.unlink(temporary)
        raise


def sync(path: str) -> None:
    """Waits until a file or a folder is on the disk."""
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _sums(directory: str) -> str:
    lines = []
    for name in sorted(os.listdir(directory)):
        if name != SUMS:
            with open(os.path.join(directory, name), "rb") as stream:
                lines.append(f"{hashlib.sha256(stream.read()).hexdigest()}  {name}\n")
    return "".join(lines)


def seal(directory: str) -> None:
    """Lists the files of a folder in it, and waits until all are on the disk."""
    write_whole(directory, SUMS, _sums(directory))
    for name in os.listdir(directory):
        sync(os.path.join(directory, name))
    sync(directory)


def is_sealed(directory: str) -> bool:
    """Whether the files of a folder are the listed ones, to the last byte."""
    try:
        with open(os.path.join(directory, SUMS), encoding="utf-8") as stream:
            return stream.read() == _sums(directory)
    except (OSError, ValueError):
        return False
