"""The file for type checkers is not imported: it holds errors on purpose."""

collect_ignore = ["check_operators.py"]
