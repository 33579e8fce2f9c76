"""A small monolith whose every read is shadowed, and the services beside it that are slow, dead or broken."""
