"""Ownership changes hands while customers buy and everything dies: real processes, a schedule from a seed, a judge.

``python -m tests.acceptance.chaos --minutes 5 --seed 3`` runs it for as long as asked; ``test_chaos.py`` for seconds.
Nothing here looks into the programs: customers speak HTTP, commands are run as a person runs them, and what came of it
is read with SQL of our own and judged by ``judge``, which imports nothing that it judges.
"""
