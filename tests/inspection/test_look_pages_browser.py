"""Pages of sentences, images and documents in headless Chromium: pointing, clicking, keys."""

import json
from dataclasses import replace

import pytest
import torch

from gat import topology
from gat.inspection import write_document_page, write_image_page, write_text_page
from tests.inspection.browsing import ActionChains, By, Keys, Page, needs_chromium, start
from tests.inspection.sequence_records import EVIL, LONG, SENTENCE, dense, edges_between, record_on

pytestmark = needs_chromium


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    driver = start(tmp_path_factory.mktemp("chromium"))
    yield driver
    driver.quit()


@pytest.fixture
def opened(browser, tmp_path):
    """Opens a page that ``write`` writes; at the end there must be no error in the console."""

    def opens(write, *args, **options):
        path = write(tmp_path / "page.html", *args, **options)
        for kind in ("browser", "performance"):
            browser.get_log(kind)
        browser.get(path.as_uri())
        return LookPage(browser)

    yield opens
    assert [one for one in browser.get_log("browser") if one["level"] == "SEVERE"] == []


class LookPage(Page):
    """What a reader does on these pages, and what they show."""

    def word(self, place, group="source"):
        return self.at(group).find_elements(By.CSS_SELECTOR, "button")[place]

    def point(self, element):
        ActionChains(self.driver, duration=0).move_to_element(element).perform()

    def away(self):
        self.point(self.driver.find_element(By.TAG_NAME, "h1"))

    def press(self, *keys):
        for key in keys:
            self.driver.switch_to.active_element.send_keys(key)

    def focused(self):
        return self.driver.switch_to.active_element.text

    def shares(self, side="source"):
        return self.run("gatPage.shares(arguments[0])", side)

    def cells(self):
        """The shares of the matrix, row by row."""
        rows = "[...document.querySelectorAll('#matrix tbody tr')]"
        share = "Number(cell.style.getPropertyValue('--share'))"
        return self.run(f"{rows}.map((row) => [...row.cells].slice(1).map((cell) => {share}))")

    def without_edge(self, selector):
        found = self.driver.find_elements(By.CSS_SELECTOR, selector)
        return self.run("arguments[0].map((one) => one.classList.contains('none'))", found)

    def framed(self):
        return [one.text for one in self.driver.find_elements(By.CSS_SELECTOR, ".word.looks")]


def shares_of(weights):
    return pytest.approx((weights / weights.max()).tolist(), abs=2e-3)


def asked_urls(browser):
    events = [json.loads(one["message"])["message"] for one in browser.get_log("performance")]
    sent = [event["params"] for event in events if "requestWillBeSent" in event["method"]]
    return {one["request"]["url"] for one in sent if one["documentURL"] == browser.current_url}


SELF = record_on(topology.complete(7))
WORDS = SENTENCE[:7]
PAIR = record_on(topology.bipartite(9, 5), heads=3)
SOURCE, TARGET = SENTENCE[:9], ["das", "Kätzchen", "saß", "da", "."]


def documents():
    graphs = topology.hierarchy([3, 2, 4], [3])
    below, above = (record_on(graph, seed=seed) for seed, graph in enumerate(graphs))
    return below, above, [SENTENCE[:3], SENTENCE[3:5], SENTENCE[5:9]]


IMAGE = torch.linspace(0, 1, 24).reshape(4, 6)
GRID = record_on(topology.grid(4, 6))
OPENED = {
    "sentence": lambda opened: opened(write_text_page, SELF, WORDS),
    "pair": lambda opened: opened(write_text_page, PAIR, SOURCE, TARGET),
    "image": lambda opened: opened(write_image_page, GRID, IMAGE),
    "document": lambda opened: opened(write_document_page, *documents()),
}


@pytest.mark.parametrize("kind", OPENED)
def test_pages_open_and_ask_nobody(kind, opened, browser):
    page = OPENED[kind](opened)
    assert asked_urls(browser) == {browser.current_url}
    assert page.run("performance.getEntriesByType('resource').length") == 0


@pytest.mark.parametrize("kind", OPENED)
def test_dark_and_light_differ(kind, opened, browser):
    page, grounds = OPENED[kind](opened), []
    for scheme in ("dark", "light"):
        feature = {"name": "prefers-color-scheme", "value": scheme}
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
        grounds.append(page.run("getComputedStyle(document.body).backgroundColor"))
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    assert grounds == ["rgb(15, 20, 26)", "rgb(255, 255, 255)"]


@pytest.mark.parametrize("kind", OPENED)
def test_a_small_window_does_not_scroll_sideways(kind, opened, browser):
    size = browser.get_window_size()
    try:
        browser.set_window_size(500, 500)
        page = OPENED[kind](opened)
        assert page.run("document.documentElement.scrollWidth <= innerWidth")
    finally:
        browser.set_window_size(size["width"], size["height"])


# Sentences


def test_pointing_at_a_word_shades_what_it_looks_at_and_a_click_keeps_it(opened):
    page = opened(write_text_page, SELF, WORDS)
    weights = dense(SELF)
    assert page.shares() == shares_of(weights[0])
    for place in (3, 6):
        page.point(page.word(place))
        assert page.shares() == shares_of(weights[place])
        assert page.framed() == [WORDS[place]]
        assert page.at("word").text == WORDS[place]
        rows = page.rows("weights")
        ranked = weights[place].sort(descending=True)
        assert [name for name, _ in rows] == [WORDS[one] for one in ranked.indices.tolist()]
        assert [value for _, value in rows] == pytest.approx(ranked.values.tolist(), abs=1e-3)
    page.away()
    assert page.shares() == shares_of(weights[0])
    page.word(4).click()
    page.away()
    assert page.shares() == shares_of(weights[4])
    assert page.word(4).get_attribute("aria-pressed") == "true"
    assert page.word(0).get_attribute("aria-pressed") == "false"
    assert "sum to 1.000" in page.at("summary").text
    first = WORDS[int(weights[4].argmax())]
    said = page.at("said").get_attribute("textContent")
    assert said.startswith(f"“on” looks at “{first}”")


def test_who_looks_at_a_word_is_listed_too(opened):
    page = opened(write_text_page, SELF, WORDS, word=2)
    page.at("seen-by-count").click()
    assert page.at("seen-by-count").text == "Who looks at it (7)"
    ranked = dense(SELF)[:, 2].sort(descending=True)
    rows = page.rows("seen-by")
    assert [name for name, _ in rows] == [WORDS[one] for one in ranked.indices.tolist()]
    assert [value for _, value in rows] == pytest.approx(ranked.values.tolist(), abs=1e-3)


def test_choosing_a_layer_and_a_head_changes_shades_and_matrix(opened):
    graph = topology.complete(7)
    records = [replace(record_on(graph, 3, seed), layer=f"e.{seed}") for seed in (0, 1)]
    page = opened(write_text_page, records, WORDS, word=5, head=2)
    for layer, head, record in ((None, None, records[0]), ("e.1 (Attend)", "head 1", records[1])):
        if layer:
            page.choose("layer", layer)
            page.choose("head", head)
        weights = dense(record, 1 if layer else 2)
        assert page.shares() == shares_of(weights[5])
        for shown, row in zip(page.cells(), weights / weights.max(), strict=True):
            assert shown == pytest.approx(row.tolist(), abs=2e-3)
    page.choose("head", "mean of 3 heads")
    assert page.shares() == shares_of(dense(records[1])[5])
    assert "e.1, mean of 3 heads" in page.at("weights").text


def test_words_of_a_pair_shade_the_other_sentence(opened):
    page = opened(write_text_page, PAIR, SOURCE, TARGET)
    weights = dense(PAIR)
    assert page.shares("source") == shares_of(weights[0])
    assert page.shares("target") == [0] * 5
    page.point(page.word(3, "target"))
    assert page.shares("source") == shares_of(weights[3])
    assert page.framed() == ["da"]
    page.point(page.word(8, "source"))
    assert page.shares("target") == shares_of(weights[:, 8])
    assert page.shares("source") == [0] * 9
    assert page.framed() == ["a"]
    assert "“a” is looked at by" in page.at("summary").text
    page.word(8, "source").click()
    page.away()
    assert page.shares("target") == shares_of(weights[:, 8])
    assert page.rows("weights")[0][0] == TARGET[int(weights[:, 8].argmax())]


def test_words_without_an_edge_are_grey_and_cells_hatched(opened):
    record = record_on(topology.causal(6))
    page = opened(write_text_page, record, WORDS[:6], word=2)
    assert page.without_edge("#source .word") == [False] * 3 + [True] * 3
    missing = (~edges_between(record)).flatten().tolist()
    assert page.without_edge("#matrix td[data-target]") == missing
    assert "no edge" in page.at("shades").text
    assert len(page.rows("weights")) == 3


def test_pointing_at_the_matrix_tells_the_weight_and_a_click_keeps_the_row(opened):
    page = opened(write_text_page, PAIR, SOURCE, TARGET)
    cell = page.driver.find_element(By.CSS_SELECTOR, "td[data-target='2'][data-source='7']")
    weight = float(dense(PAIR)[2, 7])
    page.point(cell)
    page.wait(lambda: page.at("hint").is_displayed())
    told, digits = page.at("hint").text.splitlines()
    assert told == "“saß” looks at “was”"
    assert float(digits.removeprefix("weight ")) == pytest.approx(weight, abs=1e-3)
    assert [one.text for one in page.driver.find_elements(By.CSS_SELECTOR, "#matrix .here")] == [
        "was",
        "saß",
    ]
    assert page.shares("source") == shares_of(dense(PAIR)[2])
    # The number is in the cell for those who hear the page.
    assert float(cell.get_attribute("textContent")) == pytest.approx(weight, abs=0.005)
    cell.click()
    page.away()
    assert not page.at("hint").is_displayed()
    assert page.shares("source") == shares_of(dense(PAIR)[2])


def test_keyboard_alone_goes_to_the_words_and_keeps_one(opened, browser):
    page = opened(write_text_page, PAIR, SOURCE, TARGET)
    page.run("document.body.focus()")
    stops = []
    for _ in range(6):
        page.press(Keys.TAB)
        active = browser.switch_to.active_element
        stops.append(active.get_attribute("id") or active.get_attribute("class") or active.text)
    # One stop for each sentence, however many words it has.
    assert stops[1:] == ["layer", "head", "word looks", "word looks", "scroll"]
    page.word(0, "target").send_keys(Keys.ARROW_RIGHT)
    assert page.focused() == "Kätzchen"
    assert page.shares("source") == shares_of(dense(PAIR)[1])
    page.press(Keys.END, Keys.ARROW_RIGHT)
    assert page.focused() == "."
    page.press(Keys.HOME, Keys.ARROW_DOWN, Keys.ARROW_DOWN, Keys.ENTER)
    assert page.state()["word"] == 2
    page.press(Keys.TAB, Keys.TAB)
    assert page.shares("source") == shares_of(dense(PAIR)[2])
    assert "“saß” looks at" in page.at("said").get_attribute("textContent")
    outline = "(arguments[0].focus(), getComputedStyle(arguments[0]).outlineWidth)"
    assert page.run(outline, page.word(2, "target")) == "3px"


@pytest.mark.parametrize("count", [1, 60])
def test_sentences_of_one_and_of_sixty_words(count, opened):
    record = record_on(topology.complete(count))
    words = [*(SENTENCE * 5)[: count - 1], LONG * 2]
    page = opened(write_text_page, record, words, word=count - 1)
    assert page.shares() == shares_of(dense(record)[-1])
    assert page.word(count - 1).get_attribute("title") == LONG * 2
    assert page.run("document.documentElement.scrollWidth <= innerWidth")
    assert len(page.cells()) == count
    heads = page.driver.find_elements(By.CSS_SELECTOR, "#matrix thead th")
    assert max(one.size["width"] for one in heads) < 45


def test_a_page_says_what_was_not_recorded_and_what_came_after_dropout(opened):
    seen = torch.tensor([1, 1, 0, 1, 1, 1, 1]).bool()
    kept = seen[SELF.target]
    record = replace(
        SELF, when="after_dropout", seen=seen, edge_index=SELF.edge_index[:, kept],
        weights=SELF.weights[kept],
    )  # fmt: skip
    page = opened(write_text_page, record, WORDS, word=2)
    assert page.at("summary").text == "There is no record of what “that” looks at."
    page.word(0).click()
    assert "after dropout" in page.at("summary").text


# Images


def test_pointing_at_a_pixel_draws_its_map_and_a_click_keeps_it(opened):
    page = opened(write_image_page, GRID, IMAGE)
    weights = dense(GRID)
    mean = page.run("gatPage.values()")
    assert mean == pytest.approx(weights.mean(0).tolist(), abs=1e-3)
    assert page.at("place").text == "All pixels, on average"
    size = page.at("image").size
    for row, column in ((0, 0), (3, 5), (2, 1)):
        spot = (column + 0.5) * size["width"] / 6, (row + 0.5) * size["height"] / 4
        page.over("image", *spot).perform()
        assert page.state()["shown"] == 6 * row + column
        assert page.run("gatPage.values()") == pytest.approx(
            weights[6 * row + column].tolist(), abs=1e-3
        )
        assert page.at("place").text == f"pixel ({row}, {column})"
    page.over("image", *spot).click().perform()
    page.away()
    assert page.state()["shown"] == 13
    best = int(weights[13].argmax())
    assert page.rows("weights")[0] == (
        f"pixel ({best // 6}, {best % 6})",
        pytest.approx(float(weights[13].max()), abs=1e-3),
    )
    page.at("all").click()
    assert page.state()["shown"] is None


def test_the_maps_shades_are_the_weights(opened, browser):
    feature = {"name": "prefers-color-scheme", "value": "light"}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
    page = opened(write_image_page, GRID, IMAGE, pixel=(0, 0))
    weights = dense(GRID)[0] / dense(GRID)[0].max()
    for node in range(1, 24):
        pixel = page.run(
            "[...map.getContext('2d').getImageData("
            "(arguments[0] % 6 + 0.5) * map.width / 6,"
            "(Math.floor(arguments[0] / 6) + 0.5) * map.height / 4, 1, 1).data]",
            node,
        )
        share = float(weights[node])
        expected = [255 + share * (mark - 255) for mark in (226, 116, 22)]
        assert pixel[:3] == pytest.approx(expected, abs=2)
    shown = page.run("[...image.getContext('2d').getImageData(image.width - 2, 2, 1, 1).data]")
    assert shown[0] == pytest.approx(255 * float(IMAGE[0, 5]), abs=1)
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


def test_pointing_at_the_map_tells_the_weight(opened):
    page = opened(write_image_page, GRID, IMAGE, pixel=(1, 2))
    size = page.at("map").size
    page.over("map", 4.5 * size["width"] / 6, 2.5 * size["height"] / 4).perform()
    page.wait(lambda: page.at("hint").is_displayed())
    place, digits = page.at("hint").text.splitlines()
    assert place == "pixel (2, 4)"
    weight = float(dense(GRID)[8, 16])
    assert float(digits.removeprefix("weight ")) == pytest.approx(weight, rel=0.02)


def test_arrow_keys_go_from_pixel_to_pixel(opened):
    page = opened(write_image_page, GRID, IMAGE)
    image = page.at("image")
    nodes = []
    for key in (Keys.ARROW_DOWN, Keys.ARROW_DOWN, Keys.ARROW_RIGHT, Keys.ARROW_UP, Keys.ARROW_UP):
        image.send_keys(key)
        nodes.append(page.state()["node"])
    # The first key comes upon the first pixel, and the rim holds.
    assert nodes == [0, 6, 7, 1, 1]
    assert page.at("said").get_attribute("textContent").startswith("pixel (0, 1). Most weight: ")
    image.send_keys(Keys.ESCAPE)
    assert page.state()["node"] is None


def test_a_read_out_has_its_map_and_no_pixels_to_choose(opened):
    records = [GRID, replace(record_on(topology.bipartite(24, 1)), layer="pooling")]
    page = opened(write_image_page, records, IMAGE, pixel=(0, 1))
    page.choose("layer", "pooling (Attend)")
    assert page.at("place").text == "The target"
    assert not page.at("all").is_displayed()
    assert page.run("gatPage.values()") == pytest.approx(dense(records[1])[0].tolist(), abs=1e-3)
    page.over("image", 5, 5).click().perform()
    assert page.state()["shown"] is None
    page.choose("layer", "attention (Attend)")
    assert page.state()["shown"] == 1


def test_a_smaller_map_lies_over_the_whole_image(opened):
    record = record_on(topology.grid(2, 3, radius=1))
    page = opened(write_image_page, record, torch.rand(3, 8, 12), pixel=(7, 0))
    assert page.at("place").text == "part (1, 0)"
    sizes = [page.at(name).size for name in ("image", "map")]
    assert sizes[0] == sizes[1]
    assert page.run("gatPage.values()").count(None) == 2
    assert "no edge" in page.at("shades").text


# Documents


def test_document_page_tells_the_weights_of_words_and_sentences(opened):
    below, above, text = documents()
    page = opened(write_document_page, below, above, text)
    for choice, head in (("mean of 2 heads", None), ("head 1", 1)):
        page.choose("head", choice)
        words = below.weights.mean(1) if head is None else below.weights[:, head]
        sentences = dense(above, head)[0]
        shown = page.run("gatPage.shares()")
        assert shown["words"] == shares_of(words)
        assert shown["sentences"] == shares_of(sentences)
        numbers = [one.text for one in page.driver.find_elements(By.CSS_SELECTOR, ".share")]
        assert [float(one) for one in numbers] == pytest.approx(sentences.tolist(), abs=1e-3)
        both = words.double() * sentences.repeat_interleave(torch.tensor([3, 2, 4]))
        ranked = both.sort(descending=True)
        rows = page.rows("weights")
        assert [name for name, _ in rows] == [SENTENCE[one] for one in ranked.indices.tolist()]
        assert [value for _, value in rows] == pytest.approx(ranked.values.tolist(), abs=1e-3)


def test_document_page_words_are_pointed_at_kept_and_gone_through(opened):
    below, above, text = documents()
    page = opened(write_document_page, below, above, text)
    page.point(page.word(4, "sentences"))
    assert page.at("word").text == SENTENCE[4]
    assert page.at("about").text == "word 1 of sentence 1"
    inside, outside = float(below.weights[4].mean()), float(dense(above)[0, 1])
    numbers = [float(one.strip(",.")) for one in page.at("summary").text.split() if "." in one[:-1]]
    assert numbers == pytest.approx([inside, outside, inside * outside], abs=1e-3)
    page.away()
    assert page.framed() == [SENTENCE[0]]
    page.word(4, "sentences").click()
    page.away()
    assert page.framed() == [SENTENCE[4]]
    page.word(4, "sentences").send_keys(Keys.ARROW_RIGHT)
    assert page.at("about").text == "word 0 of sentence 2"


# All of them


def test_a_script_in_a_word_does_not_run(opened):
    record = replace(SELF, layer=EVIL)
    below, above, _ = documents()
    evil = [[EVIL] * 3, [EVIL] * 2, [EVIL] * 4]
    for write, args in (
        (write_text_page, (record, [EVIL] * 7)),
        (write_text_page, (replace(PAIR, layer=EVIL), [EVIL] * 9, [EVIL] * 5)),
        (write_image_page, (replace(GRID, layer=EVIL), IMAGE)),
        (write_document_page, (replace(below, layer=EVIL), above, evil)),
    ):
        page = opened(write, *args, title=EVIL)
        if write is not write_image_page:
            page.word(2, "sentences" if write is write_document_page else "source").click()
            assert page.at("word").text == EVIL
        for cell in page.driver.find_elements(By.CSS_SELECTOR, "td[data-target='1']")[:1]:
            page.point(cell)
            page.wait(lambda page=page: EVIL in page.at("hint").text)
        assert page.run("window.hacked === undefined")
        assert page.run("document.querySelectorAll('img').length") == 0
