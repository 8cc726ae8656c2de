"""Where images came from, and uploads on their way in."""

import uuid

from django.conf import settings
from django.db import models


class ImageSource(models.TextChoices):
    UPLOAD = "upload", "uploaded"
    URL = "url", "from a URL"
    OVA = "ova", "from an OVA"


class Image(models.Model):
    """What is known of a disk that came as an image; the file is the one that came, before any conversion."""

    disk = models.OneToOneField("storage.Disk", on_delete=models.CASCADE, primary_key=True, related_name="image")
    source = models.CharField(max_length=8, choices=ImageSource)
    file_name = models.CharField(max_length=255)
    file_format = models.CharField(max_length=8, blank=True, default="")
    file_bytes = models.PositiveBigIntegerField(default=0)
    sha256 = models.CharField(max_length=64, blank=True, default="")
    expected_sha256 = models.CharField(max_length=64, blank=True, default="")
    url = models.TextField(blank=True, default="", help_text="encrypted: it may hold a key")
    by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="images")
    created_at = models.DateTimeField(auto_now_add=True)


class UploadStatus(models.TextChoices):
    OPEN = "open"
    COMPLETE = "complete"  # an OVA that waits for its preview to be answered
    TAKEN = "taken"  # a job has the file


class Upload(models.Model):
    """A file on its way in by the tus protocol. Its bytes lie in the spool, under its id.

    `writer` is the fencing token of the one request that may append; it counts while `writer_at` is young.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="uploads")
    domain = models.ForeignKey("storage.StorageDomain", on_delete=models.CASCADE, related_name="uploads")
    quota = models.ForeignKey("accounts.Quota", null=True, on_delete=models.SET_NULL, related_name="+")
    name = models.CharField(max_length=255)
    file_name = models.CharField(max_length=255)
    modified = models.BigIntegerField(default=0, help_text="of the sender's file, in milliseconds: tells the same file again")
    length = models.PositiveBigIntegerField()
    offset = models.PositiveBigIntegerField(default=0)
    to_format = models.CharField(max_length=8, default="qcow2")
    expected_sha256 = models.CharField(max_length=64, blank=True, default="")
    status = models.CharField(max_length=8, choices=UploadStatus, default=UploadStatus.OPEN)
    writer = models.UUIDField(null=True)
    writer_at = models.DateTimeField(null=True)
    disk = models.ForeignKey("storage.Disk", null=True, on_delete=models.SET_NULL, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField()

    class Meta:
        ordering = ["-created_at"]

    def __str__(self) -> str:
        return self.name

    @property
    def percent(self) -> int:
        return 100 * self.offset // self.length if self.length else 0
