"""What is shown on a terminal of 80 columns."""

import os
import subprocess
import sys

import pytest

from gat.cli import show

pty = pytest.importorskip("pty", reason="pseudo-terminals are of POSIX")

NAMES = ("chameleon-filtered", "amazon-computers", "squirrel-filtered")


def on_a_terminal(*arguments: str) -> str:
    """What `gat` writes to a terminal of 80 columns, without colours."""
    reading, writing = pty.openpty()
    settings = {**os.environ, "COLUMNS": "80", "TERM": "dumb", "NO_COLOR": "1"}
    command = [sys.executable, "-m", "gat", *arguments]
    with subprocess.Popen(command, stdout=writing, stderr=writing, env=settings) as process:
        os.close(writing)
        said = b"".join(iter(lambda: _read(reading), b""))
    os.close(reading)
    assert process.returncode == 0
    return said.decode().replace("\r\n", "\n")


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:
        # How Linux says that the other end was closed.
        return b""


def test_datasets_are_named_in_full_with_room_to_say_what_they_are():
    said = on_a_terminal("datasets")
    assert max(map(len, said.splitlines())) <= 80
    assert "…" not in said
    for name in NAMES:
        assert f"  {name}  " in said
    assert "Amazon Computers: goods often" in said
    assert "left out for want of width: edges, features, metric, splits" in said


def test_addresses_on_a_card_are_not_cut():
    said = on_a_terminal("datasets", "cora")
    assert max(map(len, said.splitlines())) <= 80
    address = "https://github.com/kimiyoung/planetoid/raw/master/data/ind.cora.test.index"
    assert address in "".join(said.split())


def test_wide_terminals_have_every_column():
    columns = {"name": ["cora"], "what": ["papers"], "nodes": ["2,708"]}
    assert show._spared(columns, 80, "what", ("nodes",)) == set()
    assert show._spared(columns, 40, "what", ("nodes",)) == {"nodes"}
