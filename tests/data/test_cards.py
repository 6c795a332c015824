"""The cards in datasets/: complete, true to the files at hand, and refused when wrong."""

from importlib.util import find_spec
from pathlib import Path

import pytest

from gat.data import card, cards
from gat.data.catalog import make_card, read_card
from gat.errors import ConfigError, InputError

# fmt: off
NAMES = [
    "digits", "karate", "cora", "citeseer", "pubmed", "chameleon-filtered", "squirrel-filtered",
    "actor", "texas", "cornell", "wisconsin", "minesweeper", "tolokers", "roman-empire",
    "amazon-ratings", "questions", "ppi", "amazon-computers", "amazon-photo", "coauthor-cs",
    "coauthor-physics", "wiki-cs", "ogbn-arxiv", "ogbn-products", "ogbn-proteins",
    "ogbn-mag", "dates", "numbers", "recall", "documents", "digit-images", "digit-rows",
]
# fmt: on


def test_cards_are_the_ones_promised():
    assert sorted(cards()) == sorted(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_card_is_filed_under_its_name_and_says_where_its_files_come_from(name):
    entry = card(name)
    assert entry.name == name
    assert entry.is_graph == bool(entry.counts.nodes)
    assert entry.counts.classes or entry.task == "translation"
    if entry.reader in ("planetoid", "npz", "pyg", "ogb"):
        assert entry.folder
        assert entry.files
        urls = [entry.archive.url] if entry.archive else [file.url for file in entry.files]
        assert all(str(url).startswith("https://") for url in urls)
    else:
        assert not entry.needs_files


@pytest.mark.parametrize("name", ["minesweeper", "tolokers", "questions"])
def test_card_of_a_binary_heterophilous_graph_is_scored_by_roc_auc(name):
    assert (card(name).metric, card(name).counts.classes) == ("roc-auc", 2)


@pytest.mark.parametrize(
    ("name", "release"),
    [("ogbn-arxiv", 1), ("ogbn-products", 1), ("ogbn-proteins", 1), ("ogbn-mag", 2)],
)
def test_card_of_ogb_keeps_ogbs_own_layout(name, release):
    entry = card(name)
    assert entry.home == name.replace("-", "_")
    assert entry.whole
    names = {file.name for file in entry.files}
    assert f"RELEASE_v{release}.txt" in names
    assert any(file.startswith("raw/") for file in names)
    assert sum(file.startswith("split/") for file in names) >= 3


def test_cards_of_ogb_agree_with_ogbs_own_table():
    if find_spec("ogb") is None:
        pytest.skip("the package ogb (extra ogb) has the table")
    from gat.data.ogb.package import master_row

    for entry in cards().values():
        if entry.reader != "ogb":
            continue
        row = master_row(entry.name)
        assert entry.archive is not None
        assert entry.archive.top == row["download_name"]
        assert entry.archive.url.removeprefix("https") == row["url"].removeprefix("http")
        assert f"RELEASE_v{row['version']}.txt" in {file.name for file in entry.files}
        classes = row["num tasks" if entry.multilabel else "num classes"]
        assert entry.counts.classes == int(classes)
        assert any(f"split/{row['split']}/" in file.name for file in entry.files)


def test_card_of_ppi_is_inductive_and_multilabel():
    entry = card("ppi")
    assert (entry.inductive, entry.multilabel, entry.metric) == (True, True, "micro-f1")
    assert entry.counts.graphs == 24


def test_card_checksums_are_those_of_the_files_at_hand(gat_data: Path):
    sums = dict(
        reversed(line.split()) for line in (gat_data / "SHA256SUMS").read_text().splitlines()
    )
    on_cards = {
        f"./{entry.folder}/raw/{file.name}": file.sha256
        for entry in cards().values()
        for file in entry.files
        if file.sha256
    }
    assert on_cards == sums


def test_card_is_found_whatever_the_case_and_the_dashes():
    assert card("Chameleon_Filtered").name == "chameleon-filtered"


def test_card_of_an_unknown_name_lists_near_and_known_names():
    with pytest.raises(InputError, match=r"no data set 'coar'; did you mean cora.*minesweeper"):
        card("coar")


def test_card_with_an_unknown_key_is_refused_with_the_known_keys(tmp_path):
    path = tmp_path / "x.toml"
    path.write_text('name = "x"\nlicense = "MIT"\n')
    with pytest.raises(ConfigError, match=r"x\.toml.*the keys of a card are .*licence"):
        read_card(path)


@pytest.mark.parametrize(
    "file",
    [
        {"name": "../x"},
        {"name": "x/../y"},
        {"name": "/x"},
        {"name": "x//y"},
        {"name": "x/.hidden"},
        {"name": ".hidden"},
        {"name": "x", "sha256": "short"},
    ],
)
def test_card_with_an_unsafe_file_is_refused(a_card, file):
    with pytest.raises(ConfigError, match=r"files\.0\."):
        a_card(files=[file])


def test_card_that_is_no_toml_is_refused(tmp_path):
    (tmp_path / "x.toml").write_text("name = ")
    with pytest.raises(ConfigError, match="not valid TOML"):
        read_card(tmp_path / "x.toml")


def test_make_card_names_the_missing_key():
    with pytest.raises(ConfigError, match="title: Field required"):
        make_card(
            {"name": "x", "reader": "npz", "citation": "", "split": "", "metric": "accuracy"}, "x"
        )
