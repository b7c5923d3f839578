"""Checks that the tree shows the architecture: `python3 -m tools.structure`, as `make check` does.

What is checked is in the modules, one idea each; what is allowed is in `rules`. Python 3.10 or later, nothing else.
"""
