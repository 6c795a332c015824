"""Hostile archives are refused before anything is written."""

import io
import os
import stat
import tarfile
import zipfile

import pytest

from gat.data import archive
from gat.data.archive import unpack
from gat.data.places import find_or_fetch
from gat.errors import CorruptDataError, DownloadError


@pytest.fixture
def place(tmp_path):
    """The folder to unpack into, in a folder of its own so that an escape would show."""
    folder = tmp_path / "outside" / "raw"
    folder.mkdir(parents=True)
    return folder


def zipped(path, members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as box:
        for name, content in members.items():
            box.writestr(name, content)
    return path


def tarred(path, *infos):
    with tarfile.open(path, "w:gz") as box:
        for info, content in infos:
            info.size = len(content)
            box.addfile(info, io.BytesIO(content))
    return path


def everything(folder):
    return sorted(path for path in folder.parents[1].rglob("*") if path.is_file())


def test_unpack_brings_the_wanted_members_only(tmp_path, place):
    path = zipped(tmp_path / "x.zip", {"ppi/a.txt": "A", "b.txt": "B", "c.txt": "C"})
    unpack(path, place, ["a.txt", "b.txt"])
    assert {file.name: file.read_text() for file in place.iterdir()} == {"a.txt": "A", "b.txt": "B"}


def test_unpack_of_a_top_folder_keeps_what_lies_below(tmp_path, place):
    members = {
        "arxiv/raw/a.txt": "A",
        "arxiv/raw/deep/a.txt": "D",
        "arxiv/RELEASE": "R",
        "arxiv/empty/": "",
        "other/raw/b.txt": "B",
        "arxiv": "a file of that name",
    }
    path = zipped(tmp_path / "x.zip", members)
    (place / "raw").mkdir()
    (place / "raw" / "old.txt").write_text("old")
    unpack(path, place, ["raw/a.txt", "RELEASE"], top="arxiv")
    files = [file for file in place.rglob("*") if file.is_file()]
    found = {str(file.relative_to(place)): file.read_text() for file in files}
    assert found == {"raw/a.txt": "A", "raw/deep/a.txt": "D", "RELEASE": "R"}


def test_unpack_of_a_top_folder_names_what_lacks(tmp_path, place):
    path = zipped(tmp_path / "x.zip", {"arxiv/b/a.txt": "A", "a.txt": "A"})
    with pytest.raises(CorruptDataError, match=r"lacks a\.txt"):
        unpack(path, place, ["a.txt"], top="arxiv")
    assert not any(place.iterdir())


def test_unpack_reads_tar(tmp_path, place):
    path = tarred(tmp_path / "x.tar.gz", (tarfile.TarInfo("deep/a.txt"), b"A"))
    unpack(path, place, ["a.txt"])
    assert (place / "a.txt").read_bytes() == b"A"


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("../a.txt", r"'\.\./a\.txt' leads out of the folder"),
        ("x/../../a.txt", "leads out of the folder"),
        ("..\\a.txt", "leads out of the folder"),
        ("/tmp/a.txt", "has an absolute path"),
        ("\\a.txt", "has an absolute path"),
        ("C:\\a.txt", "has an absolute path"),
        ("a.txt\0.exe", "has an absolute path"),
    ],
)
@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_unpack_refuses_a_path_that_leads_out(tmp_path, place, kind, name, says):
    if kind == "zip":
        info = zipfile.ZipInfo("x")
        info.filename = name
        with zipfile.ZipFile(tmp_path / "x.zip", "w") as box:
            box.writestr("good.txt", "good")
            box.writestr(info, "bad")
        path = tmp_path / "x.zip"
    else:
        if "\0" in name:
            name, says = "../a.txt", "leads out"  # a tar name ends at its first NUL
        path = tarred(
            tmp_path / "x.tgz",
            (tarfile.TarInfo("good.txt"), b"good"),
            (tarfile.TarInfo(name), b"bad"),
        )
    before = everything(place)
    with pytest.raises(CorruptDataError, match=f"{says}.*nothing was unpacked"):
        unpack(path, place, ["good.txt"])
    assert everything(place) == before
    assert not any(place.iterdir())


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE])
def test_unpack_refuses_links_and_devices_in_tar(tmp_path, place, kind):
    info = tarfile.TarInfo("a.txt")
    info.type, info.linkname = kind, "/etc/passwd"
    path = tarred(tmp_path / "x.tgz", (info, b""))
    with pytest.raises(CorruptDataError, match="is a link or a device"):
        unpack(path, place, ["a.txt"])
    assert not any(place.iterdir())


def test_unpack_refuses_links_in_zip(tmp_path, place):
    info = zipfile.ZipInfo("a.txt")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as box:
        box.writestr(info, "/etc/passwd")
    with pytest.raises(CorruptDataError, match="is a link or a device"):
        unpack(tmp_path / "x.zip", place, ["a.txt"])
    assert not any(place.iterdir())


def test_unpack_refuses_a_bomb_by_its_ratio(tmp_path, place):
    path = zipped(tmp_path / "x.zip", {"a.txt": bytes(32 << 20)})
    with pytest.raises(CorruptDataError, match="would unpack to 33554432"):
        unpack(path, place, ["a.txt"])
    assert not any(place.iterdir())


def test_unpack_refuses_a_bomb_by_its_size(tmp_path, place, monkeypatch):
    monkeypatch.setattr(archive, "MAX_BYTES", 1000)
    path = zipped(tmp_path / "x.zip", {"a.txt": os.urandom(600), "b.txt": os.urandom(600)})
    with pytest.raises(CorruptDataError, match="would unpack to 1200"):
        unpack(path, place, ["a.txt"])
    assert not any(place.iterdir())


def test_unpack_admits_what_is_as_large_as_ogbn_products(tmp_path):
    # Its members are compressed already, so the archive is hardly smaller than they are.
    path = tmp_path / "products.zip"
    with path.open("wb") as stream:
        stream.truncate(1_480_000_000)
    member = {"name": "products/raw/node-feat.csv.gz", "plain": True, "locked": False}
    archive._judge(path, [member | {"size": 1_500_000_000}])
    with pytest.raises(CorruptDataError, match="would unpack to 15000000000"):
        archive._judge(path, [member | {"size": 15_000_000_000}])


def test_unpack_stops_at_a_member_longer_than_it_says(tmp_path, place):
    path = zipped(tmp_path / "x.zip", {"a.txt": bytes(100_000)})
    content = path.read_bytes().replace((100_000).to_bytes(4, "little"), (10).to_bytes(4, "little"))
    path.write_bytes(content)
    with pytest.raises(CorruptDataError, match="Bad CRC-32"):
        unpack(path, place, ["a.txt"])
    assert not any(place.iterdir())


@pytest.mark.parametrize(
    ("members", "says"),
    [
        ({"b.txt": "B"}, r"lacks a\.txt"),
        ({"x/a.txt": "1", "y/a.txt": "2"}, r"holds a\.txt twice"),
    ],
)
def test_unpack_refuses_missing_and_double_members(tmp_path, place, members, says):
    with pytest.raises(CorruptDataError, match=says):
        unpack(zipped(tmp_path / "x.zip", members), place, ["a.txt"])


@pytest.mark.parametrize("kept", [0, 10, 60])
def test_unpack_refuses_a_truncated_archive(tmp_path, place, kept):
    path = zipped(tmp_path / "x.zip", {"a.txt": os.urandom(500)})
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(CorruptDataError, match=r"neither a zip nor a tar|is damaged"):
        unpack(path, place, ["a.txt"])
    assert not any(place.iterdir())


def test_fetch_unpacks_an_archive_and_throws_it_away(server, answer, a_card, tmp_path):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as box:
        box.writestr("ppi/a.npy", b"A")
        box.writestr("ppi/b.npy", b"B")
    url = server.says("all.zip", answer(stream.getvalue()))
    card = a_card(archive={"url": url}, files=[{"name": "a.npy"}, {"name": "b.npy"}])
    raw = find_or_fetch(card, tmp_path, download=True)
    assert sorted(os.listdir(raw)) == [".lock", "a.npy", "b.npy"]


def test_fetch_of_an_archive_that_is_nowhere_says_where_to_unpack_it(
    server, answer, a_card, tmp_path
):
    url = server.says("all.zip", answer(b"gone", 404))
    files = [{"name": "a.npy"}]
    with pytest.raises(DownloadError, match=r"unpack its files into .*root/made_up/raw, or"):
        find_or_fetch(a_card(archive={"url": url}, files=files), tmp_path / "root", download=True)
    card = a_card(archive={"url": url, "top": "all"}, files=files)
    with pytest.raises(DownloadError, match=r"unpack its folder all as .*whole/made_up, or"):
        find_or_fetch(card, tmp_path / "whole", download=True)


def test_fetch_of_a_hostile_archive_leaves_nothing(server, answer, a_card, tmp_path):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as box:
        box.writestr("a.npy", b"A")
        box.writestr("../../../evil", b"B")
    url = server.says("all.zip", answer(stream.getvalue()))
    card = a_card(archive={"url": url}, files=[{"name": "a.npy"}])
    with pytest.raises(CorruptDataError, match=r"'\.\./\.\./\.\./evil' leads out"):
        find_or_fetch(card, tmp_path / "root", download=True)
    assert os.listdir(tmp_path / "root" / "made_up" / "raw") == [".lock"]
    assert os.listdir(tmp_path) == ["root"]
