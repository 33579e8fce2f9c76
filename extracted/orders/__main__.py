"""The orders service's command line: `python -m extracted.orders check`."""

import os
import sys

from django.core.management import execute_from_command_line


def main() -> None:
    """Run a Django command with the service's settings."""
    os.environ["DJANGO_SETTINGS_MODULE"] = "extracted.orders.settings"
    execute_from_command_line(["python -m extracted.orders", *sys.argv[1:]])


if __name__ == "__main__":
    main()
