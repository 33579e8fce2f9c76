"""Checks that any implementation of the wire can run against its own address; they need no Django.

``python -m migrations_plan.sync.conformance URL --secret S --audience A --aggregate NAME --document FILE.json``
"""
