# Nothing for Python: a filter registers itself when it is imported.
