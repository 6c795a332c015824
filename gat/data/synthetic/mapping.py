"""The folder ``mapping`` of a replica: made-up names of nodes and labels."""

from pathlib import Path

from gat.data.synthetic.mag import Heterograph
from gat.data.synthetic.planted import PlantedGraph
from gat.data.synthetic.tables import write_text

__all__ = ["write", "write_hetero"]

README = "The names in these files are made up: number 7 of a kind is called KIND-7.\n"
# File, its two columns and what the made-up names begin with, first for nodes, then for labels.
FILES = {
    "ogbn-arxiv": (
        ("nodeidx2paperid", "node idx,paper id", "paper"),
        ("labelidx2arxivcategeory", "label idx,arxiv category", "category"),
    ),
    "ogbn-products": (
        ("nodeidx2asin", "node idx,asin", "product"),
        ("labelidx2productcategory", "label idx,product category", "category"),
    ),
    "ogbn-proteins": (
        ("nodeidx2proteinid", "node idx,protein id", "protein"),
        ("labelidx2GO", "label idx,GO", "function"),
    ),
}


def write(folder: Path, graph: PlantedGraph) -> None:
    """Names of the nodes and of the labels."""
    counts = (graph.num_nodes, graph.facts.classes)
    for (file, header, kind), count in zip(FILES[graph.name], counts, strict=True):
        _names(folder / f"{file}.csv.gz", header, kind, count)
    (folder / "README.md").write_text(README)


def write_hetero(folder: Path, made: Heterograph) -> None:
    """Names of the nodes of each kind, of the labels and of the relations."""
    for kind, count in made.num_nodes.items():
        _names(folder / f"{kind}_entidx2name.csv.gz", "ent idx,ent name", kind, count)
    classes = made.papers.facts.classes
    _names(folder / "labelidx2venuename.csv.gz", "label idx,venue name", "venue", classes)
    relations = [f"{number},{triplet[1]}" for number, triplet in enumerate(made.edges)]
    write_text(folder / "relidx2relname.csv.gz", ["rel idx,rel name", *relations])
    (folder / "README.md").write_text(README)


def _names(path: Path, header: str, kind: str, count: int) -> None:
    write_text(path, [header, *(f"{number},{kind}-{number}" for number in range(count))])
