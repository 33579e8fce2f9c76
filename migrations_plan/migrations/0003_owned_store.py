from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('migrations_plan', '0002_shadow_store'),
    ]

    operations = [
        migrations.AddField(
            model_name='servicestate',
            name='owned_store',
            field=models.CharField(db_default='own', default='own', help_text='Which upstream answers for the buckets that the service owns.', max_length=40),
        ),
    ]
