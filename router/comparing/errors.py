"""What can be wrong with a comparison rule."""

from router.exceptions import ConfigurationError


class RuleMistake(ConfigurationError):
    """A comparison rule cannot work as it is written."""
