"""Lets another user pass through folders without opening them to anybody else."""

import errno
import os
import struct
from pathlib import Path

from mernet.worker.errors import ServiceError

ACCESS_LIST = "system.posix_acl_access"
VERSION = 2
OWNER, USER, GROUP_OF_OWNER, MASK, OTHERS = 0x01, 0x02, 0x04, 0x10, 0x20
"""Tags of the entries of a Linux access list (linux/posix_acl_xattr.h)."""

NO_ID = 0xFFFFFFFF
PASS = 0o1

Entry = tuple[int, int, int]
"""Tag, permissions, and the user's or group's number."""


def let_pass(uid: int, folder: Path) -> list[Path]:
    """Let a user pass through `folder` and the folders above it; list and read stay as they are.

    Only where the user cannot pass yet, an entry for this user alone is added to the access list
    of the folder. What others may do does not change.

    Returns:
        The folders that got an entry.

    Raises:
        ServiceError: The file system has no access lists.
    """
    closed = [each for each in (folder, *folder.parents) if not _may_pass(uid, each)]
    for each in closed:
        _add_entry(uid, each)
    return closed


def _may_pass(uid: int, folder: Path) -> bool:
    found = folder.stat()
    if found.st_uid == uid:
        return bool(found.st_mode & 0o100)
    entries = _entries(folder)
    own = [may for tag, may, number in entries if (tag, number) == (USER, uid)]
    if own:
        # A chmod of the group's bits sets the mask, which limits the entries of users.
        mask = next((may for tag, may, _ in entries if tag == MASK), PASS)
        return bool(own[0] & mask & PASS)
    return bool(found.st_mode & 0o001)


def _entries(folder: Path) -> list[Entry]:
    """Return the folder's access list; one without entries for users is that of its mode."""
    try:
        stored = os.getxattr(folder, ACCESS_LIST)
    except OSError:
        mode = folder.stat().st_mode
        return [
            (OWNER, mode >> 6 & 7, NO_ID),
            (GROUP_OF_OWNER, mode >> 3 & 7, NO_ID),
            (OTHERS, mode & 7, NO_ID),
        ]
    return [(tag, may, number) for tag, may, number in struct.iter_unpack("<HHI", stored[4:])]


def _add_entry(uid: int, folder: Path) -> None:
    kept = [each for each in _entries(folder) if each[0] != MASK and each[:3:2] != (USER, uid)]
    mask = PASS
    for tag, permissions, _ in kept:
        if tag not in (OWNER, OTHERS):
            mask |= permissions  # without it, the group would lose what it may do
    entries = sorted([*kept, (USER, PASS, uid), (MASK, mask, NO_ID)], key=lambda each: each[::2])
    packed = b"".join(struct.pack("<HHI", *each) for each in entries)
    try:
        os.setxattr(folder, ACCESS_LIST, struct.pack("<I", VERSION) + packed)
    except OSError as error:
        reason = (
            "its file system has no access lists"
            if error.errno == errno.ENOTSUP
            else str(error.strerror)
        )
        raise ServiceError(
            f"Started by root, Postgres runs as another user, who cannot pass through {folder} "
            f"({reason}); set MERNET_DATA_DIR to a folder that others may enter, such as one below "
            "/var/lib, or run this as another user than root."
        ) from error
