"""Filters: text → filter → predicate and canonical text.

Reading, writing and matching are three functions that share nothing but the tree; a filter is
validated once, where it comes in, and matched without any check after that.
"""

from bridge.filters.matching import (
    Predicate,
    finder,
    indexable_correlation,
    pinned_correlation,
    predicate,
)
from bridge.filters.parsing import parse
from bridge.filters.spelling import canonical
from bridge.filters.tree import EVERYTHING, MAX_CHARACTERS, MAX_TERMS, Filter, correlated

__all__ = [
    "EVERYTHING",
    "MAX_CHARACTERS",
    "MAX_TERMS",
    "Filter",
    "Predicate",
    "canonical",
    "correlated",
    "finder",
    "indexable_correlation",
    "parse",
    "pinned_correlation",
    "predicate",
]
