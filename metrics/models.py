"""History of measurements: averages over a minute, then 5 minutes, then an hour."""

from django.db import models


class Sample(models.Model):
    """The average over `seconds` from `at`. None is a gap, not a zero."""

    object_type = models.CharField(max_length=8)
    object_id = models.UUIDField()
    seconds = models.PositiveIntegerField(default=60)
    at = models.DateTimeField()
    cpu_percent = models.FloatField(null=True)
    memory_bytes = models.FloatField(null=True)
    disk_read_bps = models.FloatField(null=True, help_text="bytes per second")
    disk_write_bps = models.FloatField(null=True, help_text="bytes per second")
    net_rx_bps = models.FloatField(null=True, help_text="bytes per second")
    net_tx_bps = models.FloatField(null=True, help_text="bytes per second")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["object_type", "object_id", "seconds", "at"], name="sample_once")]
        indexes = [models.Index(fields=["seconds", "at"])]
