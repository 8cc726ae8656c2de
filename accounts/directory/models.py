"""Where people come from when Vireo does not keep their passwords."""

import uuid

from django.db import models
from django.db.models.functions import Lower

from portal.secrets import decrypt, encrypt


class ProviderKind(models.TextChoices):
    LDAP = "ldap", "LDAP or Active Directory"
    OIDC = "oidc", "OpenID Connect"
    SAML = "saml", "SAML 2.0"

    @classmethod
    def elsewhere(cls) -> "tuple[ProviderKind, ...]":
        """Those that ask for the password on a page of their own."""
        return cls.OIDC, cls.SAML


class IdentityProvider(models.Model):
    """A directory that says who somebody is. Its secret is stored encrypted and never shown again."""

    OBJECT_TYPE = "identity_provider"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    kind = models.CharField(max_length=8, choices=ProviderKind)
    name = models.CharField(max_length=100)
    enabled = models.BooleanField(default=False)
    settings = models.JSONField(default=dict)
    encrypted_secret = models.TextField(blank=True, default="", editable=False)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["name"]
        constraints = [models.UniqueConstraint(Lower("name"), name="identity_provider_name_unique")]

    def __str__(self) -> str:
        return self.name

    @property
    def sign_in_route(self) -> str:
        """Where the button on the sign-in page leads."""
        return f"accounts:{self.kind}-sign-in"

    @property
    def secret(self) -> str:
        """The bind password or the client secret. Raises ValueError when it was encrypted with another key."""
        return decrypt(self.encrypted_secret)

    @secret.setter
    def secret(self, value: str) -> None:
        self.encrypted_secret = encrypt(value)


class GroupMapping(models.Model):
    """Whoever is in this group of the directory is in that group of ours."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    provider = models.ForeignKey(IdentityProvider, on_delete=models.CASCADE, related_name="mappings")
    directory_group = models.CharField(max_length=500)
    group = models.ForeignKey("accounts.Group", on_delete=models.CASCADE, related_name="mappings")

    class Meta:
        ordering = ["directory_group"]
        constraints = [models.UniqueConstraint(fields=["provider", "directory_group", "group"], name="group_mapping_once")]

    def __str__(self) -> str:
        return f"{self.directory_group} → {self.group}"
