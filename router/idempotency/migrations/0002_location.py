from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('strangler_idempotency', '0001_initial'),
    ]

    operations = [
        migrations.AddField(
            model_name='idempotencykey',
            name='location',
            field=models.TextField(blank=True, help_text='Where a redirect leads.', null=True),
        ),
    ]
