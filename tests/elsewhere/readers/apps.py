from django.apps import AppConfig


class ReadersConfig(AppConfig):
    """The people who may borrow books."""

    name = "tests.elsewhere.readers"
    label = "people"
