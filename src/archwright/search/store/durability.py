"""What a folder's file system promises."""

from __future__ import annotations

from pathlib import Path

__all__ = ["durability", "file_system"]

_LOCAL = {"ext2", "ext3", "ext4", "xfs", "btrfs", "zfs", "f2fs", "bcachefs", "overlay", "apfs"}
_NETWORK = {"nfs", "nfs4", "cifs", "smb3", "smbfs", "ceph", "lustre", "9p", "afs", "glusterfs"}
_MEMORY = {"tmpfs", "ramfs"}
_MOUNTS = Path("/proc/self/mounts")


def file_system(folder: Path, *, mounts: Path = _MOUNTS) -> str:
    """Return the type of the file system that holds a folder, or an empty text.

    Args:
        folder: the folder; it need not exist yet.
        mounts: the kernel's table of mounts.
    """
    try:
        lines = mounts.read_text().splitlines()
    except OSError:
        return ""
    path = folder.resolve()
    best, found = -1, ""
    for line in lines:
        fields = line.split()
        if len(fields) < 3:
            continue
        point = Path(fields[1].replace("\\040", " "))
        # of mounts on one point the last covers the others
        if (point == path or point in path.parents) and len(point.parts) >= best:
            best, found = len(point.parts), fields[2]
    return found


def durability(folder: Path, *, mounts: Path = _MOUNTS) -> str:
    """Return the class of durability of a folder, in words.

    ``local, full``: what is sealed survives a power cut, and a dead owner's lock is gone at once.
    ``network, one writer``: the same as far as the server keeps its promises; only one machine may
    write. ``memory, until power off``: kills are survived, nothing else. ``unknown, best effort``.
    """
    kind = file_system(folder, mounts=mounts)
    if kind in _LOCAL:
        return "local, full"
    if kind in _NETWORK or kind.startswith("fuse.sshfs"):
        return "network, one writer"
    if kind in _MEMORY:
        return "memory, until power off"
    return "unknown, best effort"
