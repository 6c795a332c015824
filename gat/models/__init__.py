"""Whole networks, made of the layers in `gat.nn`, and what is done with them step by step."""

from gat.models.attention_net import AttentionNet
from gat.models.decoding import beam, greedy, sequence_accuracy
from gat.models.document_classifier import DocumentClassifier
from gat.models.gat import GAT
from gat.models.seq2seq import Seq2Seq
from gat.models.sequence_classifier import SequenceClassifier
from gat.models.transformer import Transformer

__all__ = [
    "GAT",
    "AttentionNet",
    "DocumentClassifier",
    "Seq2Seq",
    "SequenceClassifier",
    "Transformer",
    "beam",
    "greedy",
    "sequence_accuracy",
]
