"""Writes while data changes hands: each is carried out by whoever owns what it changes, or is told to come back."""
