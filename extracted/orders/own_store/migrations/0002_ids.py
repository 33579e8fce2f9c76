"""New ids begin in a range of the service's own."""

from typing import Any

from django.db import migrations

from extracted.orders.own_store import ids


def forwards(apps: Any, schema_editor: Any) -> None:
    """Start the ranges."""
    ids.start(schema_editor.connection)


class Migration(migrations.Migration):
    dependencies = [("own_store", "0001_initial")]
    operations = [migrations.RunPython(forwards, migrations.RunPython.noop)]
