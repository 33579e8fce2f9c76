"""Sagas: work over several databases that ends in one of two ways, whichever process dies in the middle.

A Django app for services, which needs nothing else of the toolkit. ``router.sagas.api`` is its public face.
"""
