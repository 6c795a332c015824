"""Pages to look at attention in: each one HTML file that needs no network.

- `page.py` writes a graph's; `contents.py` chooses the nodes, edges and weights on it, `layout.py`
  places the nodes, and `vendor` holds the drawing library, unmodified.
- `text.py`, `image.py` and `document.py` write those of sentences, images and documents, whose
  weights `looks.py` lays out.

The browser's side are the templates, style sheets and scripts beside them; `writing.py` puts them
into one file.
"""

from gat.inspection.page.document import write_document_page
from gat.inspection.page.image import write_image_page
from gat.inspection.page.page import MAX_EDGES, write_page
from gat.inspection.page.text import write_text_page

__all__ = [
    "MAX_EDGES",
    "write_document_page",
    "write_image_page",
    "write_page",
    "write_text_page",
]
