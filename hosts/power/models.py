"""How a host's power is switched, and what is known of it."""

import json
import uuid

from django.db import models

from portal.secrets import decrypt, encrypt


class PowerState(models.TextChoices):
    ON = "on"
    OFF = "off"
    UNKNOWN = "unknown"


class HostPower(models.Model):
    """One row a host, made when first needed. All but `enabled` and `proxy` is observed: hosts.power.state writes it."""

    host = models.OneToOneField("hosts.Host", primary_key=True, on_delete=models.CASCADE, related_name="power")
    enabled = models.BooleanField(default=True, help_text="Vireo may switch it off by itself when it does not answer")
    proxy = models.ForeignKey(
        "hosts.Host",
        null=True,
        blank=True,
        on_delete=models.SET_NULL,
        related_name="+",
        help_text="runs the agents instead of this machine",
    )
    state = models.CharField(max_length=8, choices=PowerState, default=PowerState.UNKNOWN)
    state_at = models.DateTimeField(null=True)
    state_reason = models.TextField(blank=True, default="", help_text="why it is not known")
    # What the last look at a silent host decided, and why.
    decision = models.CharField(max_length=16, blank=True, default="")
    decision_reason = models.TextField(blank=True, default="")
    decided_at = models.DateTimeField(null=True)
    failures = models.PositiveSmallIntegerField(default=0, help_text="fencings in a row that were not confirmed")
    retry_at = models.DateTimeField(null=True, help_text="not fenced again before this")


class PowerAgent(models.Model):
    """One fence agent of a host. All of a host's agents must succeed: two power supplies, say."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    host = models.ForeignKey("hosts.Host", on_delete=models.CASCADE, related_name="power_agents")
    position = models.PositiveSmallIntegerField()
    with_previous = models.BooleanField(default=False, help_text="runs at the same time as the one before it")
    agent = models.CharField(max_length=64, help_text="fence_redfish, say")
    options = models.JSONField(default=dict, help_text="without the secret ones")
    secret = models.TextField(blank=True, default="", help_text="the secret options, encrypted")

    class Meta:
        ordering = ["position", "id"]

    def __str__(self) -> str:
        return self.agent

    @property
    def secrets(self) -> dict[str, str]:
        return json.loads(decrypt(self.secret) or "{}")

    @secrets.setter
    def secrets(self, values: dict[str, str]) -> None:
        self.secret = encrypt(json.dumps(values)) if values else ""
