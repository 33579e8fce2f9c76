"""Ownership changes hands, bucket by bucket: what is done next, by whom, and what has to hold before.

The rules were checked by exhaustive search; docs/cutover.md says how they read here. No stored step is trusted: the two
rows that say what each side is to a bucket are the truth, and resuming is running again.
"""
