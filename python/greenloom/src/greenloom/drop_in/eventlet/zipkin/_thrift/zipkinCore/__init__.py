"""Spans and what they consist of."""

__all__ = ["ttypes", "constants"]
