"""What is promised about the install: one version, extras, pins that fit, facts that travel."""

import re
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import gat

CHECKOUT = Path(__file__).parent.parent
PROJECT = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]


def pins() -> dict[str, str]:
    lines = (CHECKOUT / "constraints.txt").read_text().splitlines()
    pairs = [line.split("==") for line in lines if line and not line.startswith("#")]
    return {canonicalize_name(name): version for name, version in pairs}


def test_every_dependency_is_pinned_to_a_version_it_admits():
    extras = PROJECT["optional-dependencies"]
    wanted = [Requirement(r) for r in PROJECT["dependencies"] + extras["test"] + extras["dev"]]
    missing = [r.name for r in wanted if canonicalize_name(r.name) not in pins()]
    assert missing == []
    refused = [str(r) for r in wanted if pins()[canonicalize_name(r.name)] not in r.specifier]
    assert refused == []
    assert pins()["torch"] == "2.13.0"


def test_extras_are_the_promised_ones():
    promised = {"ogb", "metis", "plot", "umap", "arrow", "gpu", "tensorboard", "test", "dev"}
    assert set(PROJECT["optional-dependencies"]) == promised


def test_installed_distribution_is_of_this_version():
    try:
        installed = metadata.version("graph-attention")
    except metadata.PackageNotFoundError:
        pytest.skip("gat is imported from the checkout, not installed")
    assert installed == gat.__version__


def test_kernels_are_never_compiled_for_the_building_machine_alone():
    code = re.sub(r"#.*", "", (CHECKOUT / "CMakeLists.txt").read_text())
    assert "-march=native" not in code
    assert "-mtune" not in code


def test_facts_have_no_init_file():
    # A top-level importable `datasets` would clash with Hugging Face's.
    inits = [p for name in ("datasets", "experiments") for p in (CHECKOUT / name).rglob("*.py")]
    assert inits == []
