"""What a request can say beside its words: the one list of parameters (`parameters/`), how values are read, checked and
written (`kinds.py`), and how they become a spec (`request.py`).

Flags, the checks of the wire, help, completion and `docs/parameters.md` come from the list. Standard library only, so
that `salon --help` answers at once and a thin client stays thin.
"""
