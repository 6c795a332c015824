"""What the tests of the data room share: their own cache, no way out, a local web server."""

import http.server
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch

from gat.data import Card, NodeTask, TaskGraph
from gat.data.catalog import make_card


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the test's own; GAT_DATA reaches tests through the fixture only."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("GAT_CACHE", str(folder))
    monkeypatch.delenv("GAT_DATA", raising=False)
    return folder


@pytest.fixture(autouse=True)
def _loopback_only(monkeypatch: pytest.MonkeyPatch) -> None:
    look_up = socket.getaddrinfo

    def guarded(host, *rest, **named):
        if host not in ("127.0.0.1", "localhost", "::1"):
            raise socket.gaierror(f"{host} is beyond this machine, and a test asked for it")
        return look_up(host, *rest, **named)

    monkeypatch.setattr(socket, "getaddrinfo", guarded)


@dataclass
class Answer:
    """What the server says at a path: ``body`` with ``status``, ``length`` announced."""

    body: bytes = b""
    status: int = 200
    length: int | None = None
    location: str | None = None
    pause: float = 0.0
    drip: float = 0.0


@dataclass
class Server:
    url: str
    answers: dict[str, list[Answer]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def says(self, path: str, *answers: Answer) -> str:
        """The URL of ``path``; answers are given in turn, the last one for ever."""
        self.answers[f"/{path}"] = list(answers)
        return f"{self.url}/{path}"


class _Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        book: Server = self.server.book  # type: ignore[attr-defined]
        book.asked.append(self.path)
        answers = book.answers.get(self.path, [Answer(b"no such page", 404)])
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        time.sleep(answer.pause)
        self.send_response(answer.status)
        if answer.location:
            self.send_header("Location", answer.location)
        length = len(answer.body) if answer.length is None else answer.length
        self.send_header("Content-Length", str(length))
        self.end_headers()
        if not answer.drip:
            self.wfile.write(answer.body)
        for start in range(len(answer.body) if answer.drip else 0):
            self.wfile.write(answer.body[start : start + 1])
            self.wfile.flush()
            time.sleep(answer.drip)

    def log_message(self, *words: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    http_server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    http_server.daemon_threads = True
    # A client that gives up breaks the pipe; that is the client's test, not the server's error.
    http_server.handle_error = lambda *_: None  # type: ignore[method-assign]
    book = Server(f"http://127.0.0.1:{http_server.server_port}")
    http_server.book = book  # type: ignore[attr-defined]
    threading.Thread(target=http_server.serve_forever, args=(0.01,), daemon=True).start()
    yield book
    http_server.shutdown()
    http_server.server_close()


@pytest.fixture
def answer() -> type[Answer]:
    return Answer


@pytest.fixture
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Short waits, so that the tests of waiting are short."""
    from gat.data import download

    monkeypatch.setattr(download, "ANSWER", 0.4)
    monkeypatch.setattr(download, "SILENCE", 0.3)
    monkeypatch.setattr(download, "PAUSE", 0.01)


@pytest.fixture
def a_card() -> Callable[..., Card]:
    """A card of a made-up npz data set; named facts replace the usual ones."""

    def make(**facts: object) -> Card:
        usual: dict = {
            "name": "made-up",
            "title": "Made up",
            "reader": "npz",
            "folder": "made_up",
            "citation": "nobody",
            "split": "any",
            "metric": "accuracy",
        }
        return make_card(usual | facts, "made-up.toml")

    return make


@pytest.fixture
def a_task() -> Callable[..., NodeTask]:
    """Six nodes in a ring, two classes, one split of two nodes each; named tensors replace."""

    def make(num_classes: int = 2, metric: str = "accuracy", multilabel=False, **tensors):
        ring = torch.arange(6)
        part = torch.tensor([0, 0, 1, 1, 2, 2])[:, None]
        usual = {
            "edge_index": torch.stack([ring, ring.roll(1)]),
            "x": torch.rand(6, 3),
            "y": torch.tensor([0, 1, 0, 1, 0, 1]),
            "train_mask": part == 0,
            "val_mask": part == 1,
            "test_mask": part == 2,
        }
        graph = TaskGraph(**(usual | tensors))
        return NodeTask("ring", (graph,), num_classes, metric, multilabel)  # type: ignore[arg-type]

    return make


@pytest.fixture
def write_csv(tmp_path: Path) -> Callable[..., tuple[Path, Path]]:
    """Writes nodes.csv and edges.csv (text or bytes); the paths come back as edges, nodes."""

    def files(nodes: str | bytes, edges: str | bytes) -> tuple[Path, Path]:
        paths = tmp_path / "edges.csv", tmp_path / "nodes.csv"
        for path, content in zip(paths, (edges, nodes), strict=True):
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return paths

    return files
