"""What a cold process pays for and needs: measured and blocked in processes of their own."""

import subprocess
import sys

BLOCK = """
import sys
BLOCKED = {"triton", "ogb", "matplotlib"}
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in BLOCKED:
            raise ImportError(f"{name} is blocked")
sys.meta_path.insert(0, Refuse())
"""


def python(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_gat_imports_without_triton_ogb_and_matplotlib():
    said = python(BLOCK + "import gat, gat.nn; gat.Graph; print(gat.nn.GATConv.__name__)")
    assert said.strip() == "GATConv"


def test_attention_is_recorded_and_measured_without_the_extras():
    said = python("""
import sys
# What is None there can neither be imported nor found.
sys.modules.update(dict.fromkeys(["matplotlib", "pyarrow", "pandas", "umap"]))
import torch, gat
from gat import inspection
from gat.errors import MissingDependencyError
from gat.inspection import pictures
layer, x, edges = gat.nn.GATConv(2, 3), torch.ones(2, 2), torch.tensor([[0], [1]])
with gat.record_attention(layer) as attention:
    layer(x, edges)
print(inspection.verdicts(inspection.measure(attention))[0].kind)
for needs in (pictures.draw_entropy, lambda record: record.save("nowhere")):
    try:
        needs(attention["GATConv"])
    except MissingDependencyError as error:
        print(error)
""")
    kind, plot, arrow = said.splitlines()
    assert kind == "uniform"
    assert "graph-attention[plot]" in plot
    assert "graph-attention[arrow]" in arrow


def test_what_the_readme_names_is_there_after_import_gat():
    said = python("import gat; print(gat.data.synthetic.write_replica.__name__)")
    assert said.strip() == "write_replica"


def test_import_gat_alone_imports_no_torch():
    assert python("import sys, gat; print('torch' in sys.modules)").strip() == "False"


def test_gat_train_and_gat_data_leave_sklearn_and_networkx_for_later():
    said = python("""
import sys, torch_geometric.nn
before = set(sys.modules)
import gat.data, gat.train
late = {"sklearn", "networkx", "pandas", "matplotlib", "ogb", "triton"}
print(sorted(late & {name.partition(".")[0] for name in set(sys.modules) - before}))
""")
    assert said.strip() == "[]"


def test_gat_nn_takes_under_two_seconds_more_than_torch_geometric():
    # In one process, so that the noise of importing torch twice is not in the difference.
    code = """
import time, torch_geometric, torch_geometric.nn
start = time.perf_counter()
import gat, gat.nn
print(time.perf_counter() - start)
"""
    seconds = min(float(python(code)) for _ in range(2))
    assert seconds < 2.0


def test_unknown_attribute_of_gat_is_an_attribute_error():
    said = python("""
import gat
try:
    gat.nonsense
except AttributeError as error:
    print(error)
""")
    assert said.strip() == "module 'gat' has no attribute 'nonsense'"


def test_every_exported_name_resolves():
    code = "import gat; print([n for n in gat.__all__ if getattr(gat, n) is None])"
    assert python(code).strip() == "[]"
