"""The monolith. Its Celery application is loaded with it, so that shared tasks find their broker."""

from legacy_shop.celery import app as celery_app

__all__ = ("celery_app",)
