"""Volumes that a scan found and that nobody owns."""

import uuid

from django.db import models


class StrayVolume(models.Model):
    """A volume in a storage domain that belongs to no disk. Written by storage.disks.strays."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    domain = models.ForeignKey("storage.StorageDomain", on_delete=models.CASCADE, related_name="strays")
    host = models.ForeignKey(
        "hosts.Host", null=True, on_delete=models.CASCADE, related_name="+", help_text="whose directory, in a local domain"
    )
    name = models.CharField(max_length=1024)
    allocated_bytes = models.PositiveBigIntegerField(default=0)
    found_at = models.DateTimeField()

    class Meta:
        ordering = ["name", "id"]

    def __str__(self) -> str:
        return self.name
