"""Triggers that write down which aggregates changed, whoever changed them."""
