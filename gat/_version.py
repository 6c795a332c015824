"""The version, in one place: the wheel, the compiled library and ``gat --version`` read it."""

__version__ = "0.1.0"
