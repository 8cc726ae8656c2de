from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("accounts", "0001_initial")]

    operations = [migrations.AddField("grant", "expires_at", models.DateTimeField(blank=True, null=True))]
