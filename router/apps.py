"""Wire the router into Django: find the routes, register the checks, say who loads the snapshot."""

from django.apps import AppConfig


class RouterConfig(AppConfig):
    name = "router"
    label = "router"
    verbose_name = "Strangler router"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Import every app's strangler.py and register the system checks."""
        from router import checks, fences, metrics, poller, registry  # the models these need exist only now
        from router.seam import checks as seam_checks
        from router.shadow import pool

        checks.register_all()
        seam_checks.register_all()
        poller.install()
        fences.install()
        metrics.install()
        pool.install()  # after the metrics, which are flushed at exit once the pool has stopped
        registry.autodiscover()
