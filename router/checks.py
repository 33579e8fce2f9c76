"""System checks."""


def register_all() -> None:
    """Register every check of the router."""
