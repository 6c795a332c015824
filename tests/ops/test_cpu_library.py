"""The compiled library: found, loaded, checked to be of this build; its absence is one notice."""

import ctypes
import os
import shutil
import subprocess
import warnings
from pathlib import Path

import pytest

from gat._version import __version__
from gat.notices import warn_once
from gat.ops import cpu
from gat.ops.cpu.kernels import Call
from gat.ops.cpu.sampling import Hop

SOURCE = Path(cpu.__file__).parent / "version.cpp"
COMPILER = os.environ.get("CXX") or shutil.which("c++") or shutil.which("g++")


# What the loader asks beside the version.
ANSWERS = """
extern "C" long long gat_cpu_call_size() { return CALL_SIZE; }
extern "C" long long gat_cpu_hop_size() { return HOP_SIZE; }
extern "C" const char* gat_cpu_instructions() { return "abacus"; }
"""


@pytest.fixture(autouse=True)
def _fresh_caches(monkeypatch):
    monkeypatch.delenv(cpu.FOLDER, raising=False)
    cpu._load.cache_clear()
    warn_once.cache_clear()
    yield
    cpu._load.cache_clear()
    warn_once.cache_clear()


SIZES = {"call": ctypes.sizeof(Call), "hop": ctypes.sizeof(Hop)}


def build(folder: Path, **sizes: int) -> Path:
    """A folder that holds a gat_cpu.so of this version, with no kernels."""
    if COMPILER is None or not SOURCE.is_file():
        pytest.skip("no C++ compiler, or no C++ sources beside the package")
    answers = folder / "answers.cpp"
    text = ANSWERS
    for name, size in (SIZES | sizes).items():
        text = text.replace(f"{name.upper()}_SIZE", str(size))
    answers.write_text(text)
    define = f'-DGAT_VERSION="{__version__}"'
    sources = [str(SOURCE), str(answers)]
    target = str(folder / "gat_cpu.so")
    subprocess.run([COMPILER, "-shared", "-fPIC", define, *sources, "-o", target], check=True)
    return folder


@pytest.fixture(scope="session")
def built(tmp_path_factory) -> Path:
    return build(tmp_path_factory.mktemp("built"))


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
    assert f"gat_cpu {__version__} (abacus): loaded from" in str(found)


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
    assert "attention on the CPU runs through torch, several times slower" in sentence
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


@pytest.mark.parametrize("struct", SIZES)
def test_library_that_reads_other_structs_is_refused_and_not_run(monkeypatch, tmp_path, struct):
    expected = SIZES[struct]
    look_in(monkeypatch, build(tmp_path, **{struct: expected - 8}))
    sentence = rf"another build: it reads {struct}s of {expected - 8} bytes, expected {expected}"
    with pytest.warns(RuntimeWarning, match=sentence):
        assert cpu.library() is None
    assert "reinstall" in cpu.status().remedy


def test_folder_named_by_the_environment_comes_instead_of_the_installed(
    monkeypatch, built, tmp_path
):
    installed, named = tmp_path / "installed", tmp_path / "named"
    shutil.copytree(built, installed)
    shutil.copytree(built, named)
    look_in(monkeypatch, installed)
    monkeypatch.setenv("GAT_CPU_LIBRARY", str(named))
    assert cpu.status().path == named / "gat_cpu.so"


def test_folder_named_by_the_environment_without_a_library_is_said_aloud(
    monkeypatch, built, tmp_path
):
    look_in(monkeypatch, built)
    monkeypatch.setenv("GAT_CPU_LIBRARY", str(tmp_path))
    assert not cpu.status().available
    assert f"there is none in the folder {tmp_path} that GAT_CPU_LIBRARY names" in str(cpu.status())
    assert "To mend it, unset GAT_CPU_LIBRARY" in str(cpu.status())


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
