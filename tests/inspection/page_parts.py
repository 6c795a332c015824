"""The HTML of a page taken apart."""

import html.parser
import json


class Elements(html.parser.HTMLParser):
    """The elements of a page: tags with attributes, texts of scripts, ill-nested end tags."""

    VOID = ("meta", "input", "link", "br", "img")

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.scripts, self.faults = [], [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag == "script":
            self.scripts.append("")
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.faults.append(tag)

    def handle_data(self, data):
        if self.open and self.open[-1] == "script":
            self.scripts[-1] += data


def elements_of(path):
    return Elements(path.read_text("utf-8"))


def document_of(path):
    elements = elements_of(path)
    kinds = [attrs for tag, attrs in elements.tags if tag == "script"]
    return json.loads(elements.scripts[[one.get("id") for one in kinds].index("data")])
