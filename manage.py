#!/usr/bin/env python
"""The monolith's and the control plane's command line."""

import os
import sys

from django.core.management import execute_from_command_line

if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "legacy_shop.settings")
    execute_from_command_line(sys.argv)
