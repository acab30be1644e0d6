FILTERS: dict[str, int]
