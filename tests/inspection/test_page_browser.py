"""The page in headless Chromium: it draws, finds, hides, moves, and loads nothing."""

import itertools
import json
from dataclasses import replace

import pytest
import torch

from gat.inspection.page import write_page
from tests.graphs import GRAPHS
from tests.inspection.browsing import SOFTWARE_GL, By, Keys, Page, needs_chromium, start
from tests.inspection.page_records import record, ring, scattered

pytestmark = needs_chromium
EVIL = "<script>window.hacked = 1</script><img src=x onerror='window.hacked = 1'>"


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    driver = start(tmp_path_factory.mktemp("chromium"), *SOFTWARE_GL)
    yield driver
    driver.quit()


@pytest.fixture
def opened(browser, tmp_path):
    """Opens a page of these records; at the end there must be no error in the console."""

    def opens(*args, **options):
        path = write_page(tmp_path / "page.html", *args, **options)
        for kind in ("browser", "performance"):
            browser.get_log(kind)
        browser.get(path.as_uri())
        return GraphPage(browser)

    yield opens
    assert [one for one in browser.get_log("browser") if one["level"] == "SEVERE"] == []


class GraphPage(Page):
    """What a reader does on a page of a graph, and what it shows."""

    def widths(self):
        return self.run("gatPage.edgeWidths()")

    def threshold(self, place):
        self.run(
            "(arguments[0].value = arguments[1], arguments[0].dispatchEvent(new Event('input')))",
            self.at("threshold"),
            place,
        )

    def node(self, number):
        return self.run("gatPage.nodeAt(arguments[0])", number)


def shown_width(weight):
    return 0.5 + 8.5 * weight


def test_page_opens_and_asks_nobody(opened, browser):
    layer = record(ring(6), 6)
    page = opened(layer)
    torch.testing.assert_close(
        torch.tensor(page.widths()), shown_width(layer.weights.mean(1)), atol=1e-2, rtol=0
    )
    events = [json.loads(one["message"])["message"] for one in browser.get_log("performance")]
    sent = [event["params"] for event in events if "requestWillBeSent" in event["method"]]
    asked = {one["request"]["url"] for one in sent if one["documentURL"] == browser.current_url}
    assert asked == {browser.current_url}
    assert page.run("performance.getEntriesByType('resource').length") == 0


def test_policy_stops_what_would_load(opened, browser):
    opened(record(ring(3), 3))
    stopped = browser.execute_async_script("""
        const done = arguments[0];
        document.addEventListener("securitypolicyviolation", (e) => done(e.violatedDirective));
        const picture = document.createElement("img");
        picture.src = "http://192.0.2.1/x.png";
        document.body.append(picture);
    """)
    assert stopped == "img-src"
    # The console names what was stopped; it is what this test is for.
    browser.get_log("browser")


def test_choosing_a_layer_and_a_head_changes_the_widths_drawn(opened):
    first, second = (record(ring(6), 6, name, heads=3) for name in ("one", "second"))
    page = opened([first, second])
    page.choose("head", "head 2")
    torch.testing.assert_close(
        torch.tensor(page.widths()), shown_width(first.weights[:, 2]), atol=1e-2, rtol=0
    )
    page.choose("layer", "second (GATConv)")
    assert page.state()["head"] == 2
    torch.testing.assert_close(
        torch.tensor(page.widths()), shown_width(second.weights[:, 2]), atol=1e-2, rtol=0
    )
    assert "second, head 2" in page.at("looks-at").text


def test_threshold_hides_arrows_below_it(opened):
    layer = record(ring(6), 6, heads=1)
    page = opened(layer)
    page.threshold(600)
    drawn = layer.weights[:, 0] >= 0.36
    assert 0 < drawn.sum() < 12
    assert [width > 0 for width in page.widths()] == drawn.tolist()
    assert page.at("drawn").text == f"0.360: {int(drawn.sum())} of 12 arrows drawn"


def test_table_has_the_weights_of_the_node_in_the_middle(opened):
    edges = torch.tensor([[0, 1, 2, 3, 3], [3, 3, 3, 3, 0]])
    layer = record(edges, 4, heads=2)
    page = opened(layer, y=[0, 1, 0, 1], class_names=["cats", "dogs"])
    weights = layer.weights.mean(1).tolist()
    expected = {f"node {n}": weights[n] for n in range(3)} | {"itself (own loop)": weights[3]}
    expected["itself"] = float(layer.loops[3].mean())
    rows = page.rows("looks-at")
    assert dict(rows) == pytest.approx(expected, abs=1e-3)
    assert all(first[1] >= second[1] for first, second in itertools.pairwise(rows))
    assert "sum to 1.000" in page.at("summary").text
    assert "dogs" in page.at("about").text


def test_search_finds_a_node_by_name_and_by_number(opened):
    page = opened(record(ring(12), 12), names=[f"paper {'abcdefghijkl'[n]}" for n in range(12)])
    search = page.at("search")
    search.send_keys("R F")
    assert page.at("found").text == "paper f (5)"
    search.send_keys(Keys.ENTER)
    assert page.state()["centre"] == 5
    assert page.at("centre").text == "paper f"
    assert "paper f" in page.at("said").get_attribute("textContent")
    search.send_keys("1")
    assert page.at("found").text.splitlines() == ["paper b (1)", "paper k (10)", "paper l (11)"]
    search.send_keys(Keys.ARROW_DOWN, Keys.ENTER)
    assert page.state()["centre"] == 10
    search.send_keys("nowhere")
    assert page.at("found").text == "no such node"
    search.send_keys(Keys.ESCAPE)
    assert search.get_attribute("value") == ""
    assert not page.at("found").is_displayed()


def test_click_moves_the_centre(opened):
    page = opened(record(ring(8), 8))
    place = page.node(3)
    page.over("graph", place["x"], place["y"]).click().perform()
    page.wait(lambda: page.state()["centre"] == 3)
    assert {name for name, _ in page.rows("looks-at")} == {"node 2", "node 4", "itself"}
    middle, size = page.node(3), page.at("graph").size
    assert middle["x"] == pytest.approx(size["width"] / 2, abs=1)
    assert middle["y"] == pytest.approx(size["height"] / 2, abs=1)


def test_keyboard_alone_moves_the_centre_and_the_picture(opened, browser):
    page = opened(record(ring(8), 8))
    stops = []
    for _ in range(9):
        browser.switch_to.active_element.send_keys(Keys.TAB)
        stops.append(browser.switch_to.active_element.get_attribute("id"))
    controls = ["search", "layer", "head", "threshold"]
    assert stops[1:] == [*controls, "graph", "closer", "farther", "whole"]
    graph = page.at("graph")
    page.run("arguments[0].focus()", graph)
    before = page.node(0)
    graph.send_keys(Keys.ARROW_RIGHT)
    page.wait(lambda: page.node(0)["x"] == pytest.approx(before["x"] - 60, abs=1))
    graph.send_keys(Keys.ARROW_DOWN)
    page.wait(lambda: page.node(0)["y"] == pytest.approx(before["y"] - 60, abs=1))
    graph.send_keys("+")
    page.wait(lambda: page.run("gatPage.camera().ratio") == pytest.approx(0.8))
    graph.send_keys("0")
    page.wait(lambda: page.node(0) == pytest.approx(before, abs=1))
    button = page.at("looks-at").find_element(By.CSS_SELECTOR, "button")
    name = button.text
    button.send_keys(Keys.ENTER)
    assert page.at("centre").text == name
    outline = page.run("(arguments[0].focus(), getComputedStyle(arguments[0]).outlineWidth)", graph)
    assert outline == "3px"


def test_pointing_shows_weights(opened):
    layer = record(torch.tensor([[1], [0]]), 2, heads=1)
    page = opened(layer, names=["ann", "bob"])
    ends = [page.node(n) for n in (0, 1)]
    page.over("graph", ends[1]["x"], ends[1]["y"]).perform()
    page.wait(lambda: page.at("hint").is_displayed())
    weight = float(layer.weights[0, 0])
    assert f"ann looks at it with {weight:.3f}" in page.at("hint").text
    assert "weight on itself 1.000" in page.at("hint").text
    # An arrow keeps to the right of the line between its nodes, seen from its source.
    along = [ends[0][axis] - ends[1][axis] for axis in "xy"]
    span = (along[0] ** 2 + along[1] ** 2) ** 0.5
    middle = [(ends[0][axis] + ends[1][axis]) / 2 for axis in "xy"]
    beside = [middle[0] - 3 * along[1] / span, middle[1] + 3 * along[0] / span]
    # The first move leaves the node, the second comes upon the arrow.
    page.over("graph", *beside).move_by_offset(1, 0).perform()
    page.wait(lambda: "ann looks at bob" in page.at("hint").text)
    assert f"weight {weight:.3f}" in page.at("hint").text


def test_a_script_in_a_label_does_not_run(opened):
    page = opened(
        record(ring(4), 4, layer=EVIL), y=[0] * 4, class_names=[EVIL], names=[EVIL] * 4, title=EVIL
    )
    page.at("search").send_keys("<script>")
    assert EVIL in page.at("found").text
    page.at("search").send_keys(Keys.ENTER)
    page.at("whole").click()
    place = page.node(1)
    page.over("graph", place["x"], place["y"]).click().perform()
    page.wait(lambda: page.at("hint").is_displayed())
    assert page.at("centre").text == EVIL
    assert page.run("window.hacked === undefined")
    assert page.run("document.querySelectorAll('img').length") == 0


def test_the_panel_says_how_the_weights_were_recorded(opened):
    states = {"seen": torch.tensor([1, 1, 0, 1]).bool(), "complete": torch.tensor([0, 1, 0, 1])}
    layer = replace(record(ring(4), 4), when="after_dropout", **states)
    page = opened(layer)
    assert "was sampled" in page.at("summary").text
    assert "after dropout" in page.at("summary").text
    page.at("search").send_keys("2", Keys.ENTER)
    assert "conv1 has no record" in page.at("summary").text
    page.at("search").send_keys("1", Keys.ENTER)
    assert "sampled" not in page.at("summary").text


def test_a_node_at_the_border_says_so(opened):
    page = opened(record(ring(9), 9), node=0, hops=2)
    page.at("search").send_keys("2", Keys.ENTER)
    assert "lies at the border" in page.at("summary").text
    assert "node=2" in page.at("summary").text
    assert not page.at("looks-at").is_displayed()


@pytest.mark.parametrize("name", ["one_node_without_edges", "hub", "loops_and_duplicates"])
def test_awkward_graphs_open(name, opened):
    edge_index, num_nodes, _ = GRAPHS[name]
    page = opened(record(edge_index, num_nodes))
    drawn = (edge_index[0] != edge_index[1]).tolist()
    assert [width > 0 for width in page.widths()] == drawn


def test_dark_and_light_differ(opened, browser):
    grounds = []
    page = opened(record(ring(4), 4))
    for scheme in ("dark", "light"):
        feature = {"name": "prefers-color-scheme", "value": scheme}
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
        grounds.append(page.run("getComputedStyle(document.body).backgroundColor"))
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    assert grounds == ["rgb(15, 20, 26)", "rgb(255, 255, 255)"]


def test_5000_edges_are_drawn_and_move(opened, browser):
    page = opened(record(scattered(1500, 5000), 1500, heads=2))
    assert sum(width > 0 for width in page.widths()) == 5000
    moved = browser.execute_async_script("""
        const done = arguments[0], places = [];
        const step = () => {
          places.push(renderer.getCamera().getState().x);
          if (places.length > 5) return done(places);
          byId("graph").dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowRight" }));
          requestAnimationFrame(step);
        };
        step();
    """)
    assert moved == sorted(set(moved)), moved


def test_without_webgl_the_page_says_so_and_keeps_its_tables(tmp_path):
    path = write_page(tmp_path / "page.html", record(ring(5), 5, heads=2))
    driver = start(tmp_path / "profile", "--disable-3d-apis")
    try:
        driver.get(path.as_uri())
        page = GraphPage(driver)
        assert "no WebGL" in page.at("blind").text
        assert len(page.rows("looks-at")) == 3
        before = page.rows("looks-at")
        page.choose("head", "head 1")
        assert page.rows("looks-at") != before
        page.at("search").send_keys("3", Keys.ENTER)
        assert page.at("centre").text == "node 3"
    finally:
        driver.quit()


def test_a_long_name_leaves_room_for_the_others(opened):
    edges = torch.tensor([[1, 2], [0, 0]])
    classes = ["cats", "dogs" * 40]
    page = opened(
        record(edges, 3), names=["a", "long name " * 40, "c"], y=[0, 1, 1], class_names=classes
    )
    heights = [
        line.size["height"]
        for line in page.at("looks-at").find_elements(By.CSS_SELECTOR, "tbody tr")
    ]
    assert len(heights) >= 2
    assert max(heights) < 100
    titles = page.run("[...document.querySelectorAll('#looks-at button')].map((one) => one.title)")
    assert "long name " * 40 in titles


def test_a_small_window_keeps_a_picture_and_does_not_scroll_sideways(opened, browser):
    size = browser.get_window_size()
    try:
        browser.set_window_size(500, 420)
        page = opened(record(ring(30), 30), y=[0] * 30, class_names=["c" * 200])
        assert page.at("graph").size["height"] >= 180
        assert page.run("document.documentElement.scrollWidth <= innerWidth")
        legend = "document.querySelector('.legend')"
        assert page.run(f"{legend}.scrollWidth <= {legend}.clientWidth")
    finally:
        browser.set_window_size(size["width"], size["height"])
