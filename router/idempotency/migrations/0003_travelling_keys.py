import uuid

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('strangler_idempotency', '0002_location'),
    ]

    operations = [
        migrations.CreateModel(
            name='TravellingKey',
            fields=[
                ('id', models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ('scope', models.CharField(help_text='The service whose data the request has changed.', max_length=64)),
                ('subject', models.CharField(blank=True, help_text='Whose key it is; empty for anonymous clients.', max_length=255)),
                ('bucket', models.PositiveSmallIntegerField(help_text='Of the data that the request has changed.')),
                ('key', models.CharField(max_length=255)),
                ('fingerprint', models.CharField(help_text='SHA-256 of method, path and body.', max_length=64)),
                ('status', models.PositiveSmallIntegerField()),
                ('content_type', models.CharField(blank=True, max_length=255)),
                ('body', models.BinaryField()),
                ('location', models.TextField(blank=True, help_text='Where a redirect leads.', null=True)),
                ('completed_at', models.DateTimeField()),
            ],
            options={
                'indexes': [models.Index(fields=['completed_at'], name='travelling_keys_by_age')],
                'constraints': [models.UniqueConstraint(fields=('scope', 'subject', 'key'), name='one_answer_per_travelling_key')],
            },
        ),
    ]
