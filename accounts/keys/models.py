"""The public keys of users."""

import uuid

from django.db import models


class UserKey(models.Model):
    """A public SSH key; its private half never leaves the user's own computer."""

    OBJECT_TYPE = "user_key"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    user = models.ForeignKey("accounts.User", on_delete=models.CASCADE, related_name="ssh_keys")
    name = models.CharField(max_length=150)
    public_key = models.TextField()
    fingerprint = models.CharField(max_length=64, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        app_label = "accounts"
        ordering = ["name"]
        constraints = [models.UniqueConstraint(fields=["user", "fingerprint"], name="user_key_once")]

    def __str__(self) -> str:
        return self.name
