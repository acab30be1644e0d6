FIELDS: dict[str, int]

class LogFormat:
    def __init__(self, pieces: list[tuple[bytes, str]], json: bool) -> None: ...
