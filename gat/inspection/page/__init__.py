"""A page to look at attention in: one HTML file that needs no network.

`page.py` writes it, `contents.py` chooses the nodes, edges and weights on it, `layout.py` places
the nodes. The browser's side is the template, the style sheet and the scripts beside them; `vendor`
holds the drawing library, unmodified.
"""

from gat.inspection.page.page import MAX_EDGES, write_page

__all__ = ["MAX_EDGES", "write_page"]
