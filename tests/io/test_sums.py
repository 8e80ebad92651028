import hashlib
import os
from pathlib import Path

import pytest

from reinforce_lite.errors import UserError
from reinforce_lite.io.provenance import sha256_file
from reinforce_lite.io.sums import LARGE, Sums, merkle_root

# The inputs and the roots of Certificate Transparency's own tests of RFC 6962 (merkletree test vectors).
LEAVES = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"]
ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]


@pytest.mark.parametrize("count", range(1, 9))
def test_the_roots_of_certificate_transparency(count: int) -> None:
    assert merkle_root([bytes.fromhex(leaf) for leaf in LEAVES[:count]]) == ROOTS[count - 1]


def test_a_node_cannot_pass_for_a_leaf() -> None:
    left, right = (hashlib.sha256(b"\0" + leaf).digest() for leaf in (b"a", b"b"))
    assert merkle_root([b"a", b"b"]) != merkle_root([left + right])


def test_a_large_file_is_not_read_again_while_size_and_time_stay(tmp_path: Path) -> None:
    path = tmp_path / "weights"
    path.write_bytes(b"a" * LARGE)
    sums = Sums(tmp_path)
    first = sums(path)
    sums.keep()
    status = path.stat()
    path.write_bytes(b"b" * LARGE)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert Sums(tmp_path)(path) == first, "remembered"
    assert Sums(tmp_path, trusting=False)(path) == sha256_file(path) != first, "who verifies reads it"
    os.utime(path, ns=(1, 1))
    assert Sums(tmp_path)(path) == sha256_file(path)


def test_who_verifies_reads_nothing_outside(tmp_path: Path) -> None:
    (tmp_path / "outside").write_text("secret")
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "link").symlink_to(tmp_path / "outside")
    with pytest.raises(UserError, match="outside"):
        Sums(folder, trusting=False)(folder / "link")
