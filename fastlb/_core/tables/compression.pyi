LIBRARIES: dict[str, str]
NAMES: tuple[str, ...]
