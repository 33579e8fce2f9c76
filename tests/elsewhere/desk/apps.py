from django.apps import AppConfig


class DeskConfig(AppConfig):
    """The lending desk."""

    name = "tests.elsewhere.desk"
    label = "lending"
