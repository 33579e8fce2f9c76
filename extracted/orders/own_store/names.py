"""A recipient's name in two columns, and back without loss."""


def split_name(name: str) -> tuple[str | None, str]:
    """Return what stands before and after the last space; None before it where there is no space."""
    given, space, family = name.rpartition(" ")
    return (given if space else None), family


def join_name(given: str | None, family: str) -> str:
    """Return the name that ``split_name`` took apart."""
    return family if given is None else f"{given} {family}"
