"""to come"""


def measured() -> tuple[str, bool]:
    raise NotImplementedError
