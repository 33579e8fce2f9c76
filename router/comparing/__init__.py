"""What of two answers has to agree: rules that a route declares, in words that need no other part of the router."""

from router.comparing.errors import RuleMistake
from router.comparing.normalisers import IDS, SPACES, TIMES, TOKENS, Normaliser
from router.comparing.rules import NO_RULES, Rules
from router.comparing.tolerances import Tolerance, within, within_seconds, within_share

__all__ = [
    "IDS",
    "NO_RULES",
    "SPACES",
    "TIMES",
    "TOKENS",
    "Normaliser",
    "RuleMistake",
    "Rules",
    "Tolerance",
    "within",
    "within_seconds",
    "within_share",
]
