REASONS: dict[str, int]
BY_NUMBER: dict[int, str]
ERRORS: dict[int, str]
