"""New ids begin in a range of the service's own: begun after each migrate, once the tables it needs are there."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("own_store", "0001_initial")]
    operations = []
