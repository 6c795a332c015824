"""On a GPU the compiled library's own tests have nothing to run."""

from tests.device import DEVICE

collect_ignore_glob = [] if DEVICE.type == "cpu" else ["test_cpu_*.py", "test_bandwidth.py"]
