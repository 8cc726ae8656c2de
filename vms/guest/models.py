"""What a VM's guest is told at its first boot, and what its agent told last."""

import uuid

from django.db import models

from vms.guest.settings import FirstBoot, SetUpBy, opened


class FirstBootSettings(models.Model):
    """A VM's first boot settings. Its seed CD is the VM's attachment whose disk has the content `seed`."""

    vm = models.OneToOneField("vms.VM", on_delete=models.CASCADE, primary_key=True, related_name="first_boot")
    by = models.CharField(max_length=16, choices=SetUpBy, default=SetUpBy.NONE)
    stored = models.TextField(blank=True, default="", help_text="vms.guest.settings.FirstBoot, encrypted")
    # The CD is written anew where these two differ: at once, or at the next start of a VM that runs.
    revision = models.PositiveIntegerField(default=1)
    written = models.PositiveIntegerField(default=0)

    class Meta:
        app_label = "vms"

    @property
    def settings(self) -> FirstBoot:
        return opened(self.stored)


class GuestReport(models.Model):
    """What the guest agent told when it was last asked in full. The guest is hostile: vms.guest.observe bounds and cleans it."""

    vm = models.OneToOneField("vms.VM", on_delete=models.CASCADE, primary_key=True, related_name="guest_report")
    seen_at = models.DateTimeField(null=True)
    facts = models.JSONField(default=dict, blank=True)
    # Its filesystems are frozen, and are thawed at this moment whatever happens.
    frozen_until = models.DateTimeField(null=True, db_index=True)

    class Meta:
        app_label = "vms"


class GuestPassword(models.Model):
    """A password on its way from a page to the job that sets it; deleted when that job ends."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    vm = models.ForeignKey("vms.VM", on_delete=models.CASCADE, related_name="+")
    account = models.CharField(max_length=255)
    secret = models.TextField(help_text="encrypted")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        app_label = "vms"
