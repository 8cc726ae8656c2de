from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('accounts', '0009_snapshots'),
    ]

    operations = [
        migrations.AlterField(
            model_name='identityprovider',
            name='kind',
            field=models.CharField(choices=[('ldap', 'LDAP or Active Directory'), ('oidc', 'OpenID Connect'), ('saml', 'SAML 2.0')], max_length=8),
        ),
    ]
