"""Integration events: a transactional outbox, delivery by Celery, an inbox that drops duplicates; see ``api``."""
