"""The class of durability, from the kernel's table of mounts."""

from __future__ import annotations

from pathlib import Path

import pytest

from archwright.search.store import durability

TABLE = """/dev/sda1 / ext4 rw 0 0
tmpfs /run tmpfs rw 0 0
server:/home /home/shared\\040folder nfs4 rw 0 0
fridge /mnt/odd fridgefs rw 0 0
server:/old /srv nfs rw 0 0
/dev/sdb1 /srv xfs rw 0 0
"""


@pytest.mark.parametrize(
    ("folder", "expected"),
    [
        ("/var/runs/a", "local, full"),
        ("/run/user/a", "memory, until power off"),
        ("/home/shared folder/a/b", "network, one writer"),
        ("/home/sharedfolder", "local, full"),
        ("/mnt/odd/a", "unknown, best effort"),
        ("/srv/a", "local, full"),
    ],
)
def test_the_deepest_and_last_mount_decides(tmp_path: Path, folder: str, expected: str) -> None:
    """Blanks in names, look-alike names and covered mounts are told apart."""
    table = tmp_path / "mounts"
    table.write_text(TABLE)

    assert durability(Path(folder), mounts=table) == expected


def test_without_a_table_it_is_unknown(tmp_path: Path) -> None:
    """Another system gives no promise."""
    assert durability(Path("/"), mounts=tmp_path / "none") == "unknown, best effort"
