"""The compiled library: found, loaded, version-checked; its absence is one line of notice."""

import os
import shutil
import subprocess
import warnings
from pathlib import Path

import pytest

from gat._version import __version__
from gat.notices import warn_once
from gat.ops import cpu

SOURCE = Path(cpu.__file__).parent / "version.cpp"
COMPILER = os.environ.get("CXX") or shutil.which("c++") or shutil.which("g++")


@pytest.fixture(autouse=True)
def _fresh_caches():
    cpu._load.cache_clear()
    warn_once.cache_clear()
    yield
    cpu._load.cache_clear()
    warn_once.cache_clear()


@pytest.fixture(scope="session")
def built(tmp_path_factory) -> Path:
    """A folder that holds a gat_cpu.so of this version."""
    if COMPILER is None or not SOURCE.is_file():
        pytest.skip("no C++ compiler, or no C++ sources beside the package")
    folder = tmp_path_factory.mktemp("built")
    define = f'-DGAT_VERSION="{__version__}"'
    target = str(folder / "gat_cpu.so")
    subprocess.run([COMPILER, "-shared", "-fPIC", define, str(SOURCE), "-o", target], check=True)
    return folder


def look_in(monkeypatch, *folders: Path) -> None:
    monkeypatch.setattr(cpu, "__path__", [str(folder) for folder in folders])


def test_library_present_is_loaded_without_notice(monkeypatch, built):
    look_in(monkeypatch, built)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert cpu.library() is not None
        assert cpu.notice_if_missing() is True
    found = cpu.status()
    assert found.available
    assert (found.version, found.path) == (__version__, built / "gat_cpu.so")
    assert str(built) in str(found)


def test_library_is_found_in_the_second_folder_of_an_editable_install(monkeypatch, built, tmp_path):
    look_in(monkeypatch, tmp_path, built)
    assert cpu.status().path == built / "gat_cpu.so"


def test_absent_library_gives_one_notice_that_names_the_remedy(monkeypatch, tmp_path):
    look_in(monkeypatch, tmp_path)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert cpu.library() is None
        assert cpu.library() is None
        assert cpu.notice_if_missing() is False
    assert len(caught) == 1
    sentence = str(caught[0].message)
    assert "\n" not in sentence
    assert "it was not built at install" in sentence
    assert "runs through torch, which is slower" in sentence
    assert "install a C++ compiler (g++ or clang) and then reinstall: `make compile`" in sentence


def test_status_alone_gives_no_notice(monkeypatch, tmp_path):
    look_in(monkeypatch, tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not cpu.status().available


def test_library_of_another_version_is_refused_by_name(monkeypatch, built):
    look_in(monkeypatch, built)
    monkeypatch.setattr(cpu, "__version__", "9.9.9")
    with pytest.warns(RuntimeWarning, match=f"is of version {__version__}, expected 9.9.9; "):
        assert cpu.library() is None
    assert cpu.status().version == __version__
    assert "reinstall" in cpu.status().remedy


def test_a_stale_library_does_not_hide_the_good_one(monkeypatch, built, tmp_path):
    (tmp_path / "gat_cpu.so").write_bytes(b"left over")
    look_in(monkeypatch, tmp_path, built)
    assert cpu.status().path == built / "gat_cpu.so"


@pytest.mark.parametrize("content", [b"", b"not a library"], ids=["empty", "text"])
def test_unreadable_library_is_refused_by_path(monkeypatch, tmp_path, content):
    path = tmp_path / "gat_cpu.so"
    path.write_bytes(content)
    look_in(monkeypatch, tmp_path)
    with pytest.warns(RuntimeWarning, match=r"gat_cpu\.so cannot be loaded"):
        assert cpu.library() is None
    assert cpu.status().path == path


def test_library_without_the_version_function_is_refused(monkeypatch, tmp_path):
    if COMPILER is None:
        pytest.skip("no C++ compiler")
    (tmp_path / "other.cpp").write_text('extern "C" int other() { return 0; }\n')
    target = str(tmp_path / "gat_cpu.so")
    subprocess.run(
        [COMPILER, "-shared", "-fPIC", str(tmp_path / "other.cpp"), "-o", target], check=True
    )
    look_in(monkeypatch, tmp_path)
    assert "cannot be loaded" in cpu.status().reason
    assert "gat_cpu_version" in cpu.status().reason
