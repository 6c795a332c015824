"""Downloads from a local server: damaged, missing, slow, hostile, and two at once."""

import hashlib
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from gat.data import download
from gat.data.catalog import RawFile
from gat.data.download import fetch_card, fetch_file
from gat.data.loading import load_card
from gat.data.places import find_or_fetch
from gat.errors import CorruptDataError, DownloadError, RunLockedError

GOOD = b"some data, " * 100
SHA = hashlib.sha256(GOOD).hexdigest()

pytestmark = pytest.mark.usefixtures("patience")


def a_file(url: str, **facts) -> RawFile:
    return RawFile(name="data.bin", url=url, **({"sha256": SHA, "size": len(GOOD)} | facts))


def left_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_fetch_writes_a_checked_file(server, answer, tmp_path):
    url = server.says("data.bin", answer(GOOD))
    path = fetch_file(a_file(url), tmp_path, "data.bin")
    assert path.read_bytes() == GOOD
    assert left_in(tmp_path) == ["data.bin"]


def test_fetch_is_silent_when_stderr_is_no_terminal(server, answer, tmp_path, capfd):
    fetch_file(a_file(server.says("data.bin", answer(GOOD))), tmp_path, "data.bin")
    assert capfd.readouterr() == ("", "")


def test_fetch_shows_progress_on_a_terminal(server, answer, tmp_path, capfd, monkeypatch):
    from rich.console import Console

    monkeypatch.setattr(Console, "is_terminal", True)
    fetch_file(a_file(server.says("data.bin", answer(GOOD))), tmp_path, "data.bin")
    out, err = capfd.readouterr()
    assert out == ""
    assert "downloading data.bin" in err


@pytest.mark.parametrize("facts", [{}, {"sha256": None, "size": None}], ids=["known", "unknown"])
@pytest.mark.parametrize("kept", [0, 1, len(GOOD) - 1])
def test_fetch_of_a_truncated_body_is_removed_after_one_retry(
    server, answer, tmp_path, kept, facts
):
    url = server.says("data.bin", answer(GOOD[:kept], length=len(GOOD)))
    with pytest.raises(CorruptDataError, match=f"{kept} of {len(GOOD)} bytes arrived.*removed"):
        fetch_file(a_file(url, **facts), tmp_path, "data.bin")
    assert server.asked == ["/data.bin"] * 2
    assert left_in(tmp_path) == []


@pytest.mark.parametrize(
    ("body", "facts", "says"),
    [
        (b"", {"sha256": None, "size": None}, r"data\.bin is empty"),
        (GOOD[:50], {"sha256": None}, "has 50 bytes, expected"),
        (GOOD[:-1] + b"x", {}, rf"has sha256 [0-9a-f]{{64}}, expected {SHA}"),
        (b"<!DOCTYPE html><p>Sign in", {"sha256": None, "size": None}, "is a web page"),
        (b"\n <html><p>Not here", {}, "is a web page"),
    ],
    ids=["empty", "short", "checksum", "html", "html with checksum"],
)
def test_fetch_of_wrong_contents_is_removed_after_one_retry(
    server, answer, tmp_path, body, facts, says
):
    url = server.says("data.bin", answer(body))
    with pytest.raises(CorruptDataError, match=f"{says}.*It was removed.*{tmp_path}/data.bin"):
        fetch_file(a_file(url, **facts), tmp_path, "data.bin")
    assert server.asked == ["/data.bin"] * 2
    assert left_in(tmp_path) == []


@pytest.mark.parametrize("first", [{"body": GOOD[:9]}, {"status": 503}, {"body": GOOD + b"x"}])
def test_fetch_succeeds_at_the_second_attempt(server, answer, tmp_path, first):
    url = server.says("data.bin", answer(**first), answer(GOOD))
    fetch_file(a_file(url), tmp_path, "data.bin")
    assert server.asked == ["/data.bin"] * 2
    assert left_in(tmp_path) == ["data.bin"]


def test_fetch_of_a_missing_page_says_so_at_once(server, tmp_path):
    with pytest.raises(DownloadError, match=rf"{server.url}/gone.*404.*{tmp_path}/data\.bin"):
        fetch_file(a_file(f"{server.url}/gone"), tmp_path, "data.bin")
    assert len(server.asked) == 1
    assert left_in(tmp_path) == []


def test_fetch_from_a_closed_port_names_url_and_manual_path(tmp_path):
    with pytest.raises(DownloadError, match=r"127\.0\.0\.1:9/x: .*refused.*GAT_DATA"):
        fetch_file(a_file("http://127.0.0.1:9/x"), tmp_path, "data.bin")


def test_fetch_from_a_silent_server_gives_up(server, answer, tmp_path):
    url = server.says("data.bin", answer(GOOD, pause=3.0))
    start = time.monotonic()
    with pytest.raises(DownloadError, match=r"no answer|timed out"):
        fetch_file(a_file(url), tmp_path, "data.bin")
    assert time.monotonic() - start < 2.0


def test_fetch_from_a_dripping_server_gives_up(server, answer, tmp_path):
    url = server.says("data.bin", answer(GOOD, drip=0.05))
    start = time.monotonic()
    with pytest.raises(DownloadError, match=r"only \d+ bytes in"):
        fetch_file(a_file(url), tmp_path, "data.bin")
    assert time.monotonic() - start < 3.0
    assert left_in(tmp_path) == []


def test_fetch_gives_up_when_the_name_look_up_hangs(tmp_path, monkeypatch):
    import socket

    monkeypatch.setattr(socket, "getaddrinfo", lambda *rest, **named: time.sleep(2))
    start = time.monotonic()
    with pytest.raises(DownloadError, match="no answer in"):
        fetch_file(a_file("https://example.invalid/x"), tmp_path, "data.bin")
    assert time.monotonic() - start < 1.5


def test_patience_ends_before_half_a_minute(monkeypatch):
    monkeypatch.undo()
    whole = download.ATTEMPTS * download.ANSWER + (download.ATTEMPTS - 1) * download.PAUSE
    assert whole < 30
    assert download.SILENCE < download.ANSWER


@pytest.mark.parametrize("url", ["http://example.org/x", "ftp://127.0.0.1/x", "file:///etc/hosts"])
def test_fetch_refuses_anything_but_https(tmp_path, url):
    with pytest.raises(DownloadError, match="refused: data is fetched over https only"):
        fetch_file(a_file(url), tmp_path, "data.bin")


@pytest.mark.parametrize("location", ["http://example.org/x", "file:///etc/hosts"])
def test_fetch_refuses_a_redirect_out_of_https(server, answer, tmp_path, location):
    url = server.says("data.bin", answer(status=302, location=location))
    with pytest.raises(DownloadError, match=r"over https only|is not allowed"):
        fetch_file(a_file(url), tmp_path, "data.bin")
    assert left_in(tmp_path) == []


def test_fetch_follows_a_redirect(server, answer, tmp_path):
    url = server.says("data.bin", answer(status=302, location=server.says("moved", answer(GOOD))))
    fetch_file(a_file(url), tmp_path, "data.bin")
    assert server.asked == ["/data.bin", "/moved"]


def test_fetch_verifies_certificates():
    import ssl

    opener = download._opener("https://example.org")
    contexts = [handler._context for handler in opener.handlers if hasattr(handler, "_context")]
    assert contexts
    assert all(c.verify_mode == ssl.CERT_REQUIRED and c.check_hostname for c in contexts)


def made_up(answer, server, a_card, **facts):
    """A card whose npz file the local server has."""
    from io import BytesIO

    masks = np.eye(4, dtype=bool)
    stream = BytesIO()
    np.savez(
        stream,
        node_features=np.eye(4, dtype=np.float32),
        node_labels=np.array([0, 1, 0, 1]),
        edges=np.array([[0, 1], [2, 3]]),
        train_masks=masks[:1],
        val_masks=masks[1:2],
        test_masks=masks[2:3],
    )
    content = stream.getvalue()
    url = server.says("made_up.npz", answer(content, **facts))
    file = {
        "name": "made_up.npz",
        "url": url,
        "size": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
    }
    return a_card(files=[file])


def test_load_fetches_into_the_cache_once(server, answer, a_card, cache):
    card = made_up(answer, server, a_card)
    assert load_card(card).num_edges == 4
    assert (cache / "made_up" / "raw" / "made_up.npz").is_file()
    load_card(card, download=False)
    assert len(server.asked) == 1


def test_load_fetches_into_root_if_given(server, answer, a_card, cache, tmp_path):
    load_card(made_up(answer, server, a_card), tmp_path / "root")
    assert (tmp_path / "root" / "made_up" / "raw" / "made_up.npz").is_file()
    assert not cache.exists()


def test_fetch_clears_what_a_killed_process_left(server, answer, a_card, cache):
    raw = cache / "made_up" / "raw"
    (raw / ".unpack-old").mkdir(parents=True)
    (raw / ".made_up.npz.part-1").write_bytes(b"half")
    find_or_fetch(made_up(answer, server, a_card), None, download=True)
    assert left_in(raw) == [".lock", "made_up.npz"]


def test_fetch_into_a_folder_that_cannot_be_written_says_what_to_do(
    server, answer, a_card, tmp_path, monkeypatch
):
    def refuse(self, *rest, **named):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(DownloadError, match=r"Permission denied; .* root= or .*GAT_CACHE"):
        fetch_card(made_up(answer, server, a_card), tmp_path / "raw")


def test_fetch_waits_for_the_lock_and_says_who_holds_it(
    server, answer, a_card, tmp_path, monkeypatch
):
    from filelock import FileLock

    monkeypatch.setattr(download, "LOCK_WAIT", 0.2)
    with (
        FileLock(tmp_path / ".lock"),
        pytest.raises(RunLockedError, match="another process has been fetching into"),
    ):
        fetch_card(made_up(answer, server, a_card), tmp_path)
    assert server.asked == []


def test_fetch_by_threads_asks_once(server, answer, a_card, cache):
    card = made_up(answer, server, a_card, pause=0.1)
    found = []
    threads = [threading.Thread(target=lambda: found.append(load_card(card))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert [task.num_nodes for task in found] == [4] * 4
    assert len(server.asked) == 1


def test_fetch_by_two_processes_with_one_cache_asks_once(server, answer, a_card, cache):
    card = made_up(answer, server, a_card, pause=0.3)
    code = f"""
from gat.data.catalog import Card
from gat.data.loading import load_card
print(load_card(Card.model_validate_json({card.model_dump_json()!r})).num_nodes)
"""
    # Their patience is the usual one: the fixture's is for this process.
    both = [
        subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, env=os.environ)
        for _ in range(2)
    ]
    said = [process.communicate(timeout=60)[0].strip() for process in both]
    assert said == [b"4", b"4"]
    assert len(server.asked) == 1
    assert left_in(cache / "made_up" / "raw") == [".lock", "made_up.npz"]
