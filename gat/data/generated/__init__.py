"""Data sets made of examples that need no file: generated, or shipped with scikit-learn.

Each function gives an ExampleTask that depends on its arguments alone; the defaults stand on the
cards (``datasets/``), and ``gat.data.load_examples`` calls them with these.
"""

from gat.data.generated.dates import dates
from gat.data.generated.digit_images import digit_images, digit_rows
from gat.data.generated.documents import documents
from gat.data.generated.numbers import numbers
from gat.data.generated.recall import recall

__all__ = ["dates", "digit_images", "digit_rows", "documents", "numbers", "recall"]
