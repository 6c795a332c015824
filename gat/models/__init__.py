"""Whole networks, made of the layers in `gat.nn`."""

from gat.models.gat import GAT

__all__ = ["GAT"]
