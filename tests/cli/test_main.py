"""`gat` itself: help, version, and the exit code and sentence for each way of failing."""

import os
import signal
import subprocess
import sys
import warnings

import pytest

from gat.cli import main
from gat.cli.faults import guarded
from gat.errors import CorruptDataError, InputError


def test_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == "gat 0.1.0\n"


@pytest.mark.parametrize("arguments", [["--help"], []], ids=["asked", "nothing-given"])
def test_help_names_every_subcommand(capsys, arguments):
    assert main(arguments) == 0
    said = capsys.readouterr().out
    for name in ("train", "evaluate", "reproduce", "datasets", "results", "bench", "--version"):
        assert name in said


def test_help_of_train_explains_its_options(capsys):
    assert main(["train", "--help"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "digits, which needs no network" in said
    assert "--resume RUN" in said
    assert "--set KEY=VALUE" in said
    assert "None" not in said


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["tarin"], "tarin"),
        (["train", "--epoch", "3"], "--epochs"),
        (["train", "--epochs", "many"], "--epochs: expected a whole number, got 'many'"),
        (["train", "--lr", "small"], "--lr: expected a number, got 'small'"),
        (["reproduce", "--jobs", "1.5"], "--jobs: expected a whole number, got '1.5'"),
        (["evaluate"], "RUN"),
    ],
    ids=["unknown-command", "unknown-option", "epochs", "lr", "jobs", "missing-argument"],
)
def test_usage_error_exits_with_2_and_names_the_argument(capsys, arguments, sentence):
    assert main(arguments) == 2
    said = capsys.readouterr()
    assert sentence in said.err
    assert said.out == ""


@pytest.mark.parametrize(
    ("error", "code"),
    [(InputError("no such thing"), 2), (CorruptDataError("torn"), 3)],
    ids=["input", "corrupt"],
)
def test_errors_are_one_line_on_stderr_without_traceback(capsys, error, code):
    def fail():
        raise error

    assert guarded(fail) == code
    assert capsys.readouterr().err == f"gat: {error}\n"


def test_a_bug_exits_with_1_and_shows_its_traceback(capsys):
    def fail():
        raise ZeroDivisionError("oh")

    assert guarded(fail) == 1
    said = capsys.readouterr().err
    assert "Traceback" in said
    assert "ZeroDivisionError: oh" in said
    assert "this is a bug in gat; please report it" in said


def test_ctrl_c_exits_with_130(capsys):
    def interrupt():
        raise KeyboardInterrupt

    assert guarded(interrupt) == 130
    assert capsys.readouterr().err == "gat: interrupted\n"


def test_sigterm_exits_with_143_and_the_handler_is_put_back(capsys):
    before = signal.getsignal(signal.SIGTERM)
    assert guarded(lambda: os.kill(os.getpid(), signal.SIGTERM)) == 143
    assert capsys.readouterr().err == "gat: terminated\n"
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_warning_is_one_line_on_stderr(capsys):
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        assert guarded(lambda: warnings.warn("mind the gap", RuntimeWarning, stacklevel=1)) == 0
    assert capsys.readouterr().err == "gat: warning: mind the gap\n"


def test_python_m_gat_in_a_process_of_its_own():
    command = [sys.executable, "-m", "gat", "datasets", "no-such-data"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("gat: there is no data set 'no-such-data'")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("command", "argument"),
    [("train", "[DATASET]"), ("reproduce", "[EXPERIMENT]"), ("datasets", "[NAME]")],
)
def test_usage_shows_what_may_be_left_out_in_brackets(capsys, command, argument):
    assert main([command, "--help"]) == 0
    assert argument in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["datasets"]], ids=" ".join)
def test_a_reader_that_leaves_early_is_no_error(arguments):
    reading, writing = os.pipe()
    os.close(reading)
    try:
        command = [sys.executable, "-m", "gat", *arguments]
        done = subprocess.run(
            command, stdout=writing, stderr=subprocess.PIPE, text=True, timeout=60, check=False
        )
    finally:
        os.close(writing)
    assert (done.returncode, done.stderr) == (0, "")


def test_help_does_not_wait_for_torch():
    code = "import sys, gat.cli; gat.cli.main(['train', '--help']); print('torch' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.endswith("False\n")
