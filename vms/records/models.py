"""What is known of the records that lie on storage domains."""

from django.db import models

from storage.models import StorageDomain


class RecordsKept(models.Model):
    """The records that this Vireo keeps on a domain.

    Args:
        serial: of the volume that holds them; 0 while there is none.
        digest: of what they say, so that nothing is written that is there already.
        claimed_at: since when somebody writes them.
    """

    domain = models.OneToOneField(StorageDomain, primary_key=True, on_delete=models.CASCADE, related_name="records")
    serial = models.PositiveIntegerField(default=0)
    digest = models.CharField(max_length=64, blank=True, default="")
    vms = models.PositiveIntegerField(default=0)
    written_at = models.DateTimeField(null=True)
    claimed_at = models.DateTimeField(null=True)
    error = models.TextField(blank=True, default="")


class FoundVm(models.Model):
    """A VM that a scan read from a domain's records, and that is none of ours; `record`: a VmRecord. It can be taken in unless `refusal` says why not."""

    domain = models.ForeignKey(StorageDomain, on_delete=models.CASCADE, related_name="found_vms")
    vm_id = models.UUIDField()
    name = models.CharField(max_length=255)
    record = models.JSONField()
    refusal = models.TextField(blank=True, default="")

    class Meta:
        ordering = ["name"]
        constraints = [models.UniqueConstraint(fields=["domain", "vm_id"], name="found_vm_unique")]
