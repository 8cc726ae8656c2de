"""Data centers, clusters, hosts, enrolments and watch leases."""

import uuid

from django.db import models
from django.db.models.functions import Lower

from accounts.managers import VisibleManager
from portal.base import Entity


class QuotaMode(models.TextChoices):
    """What a data center's quotas do: nothing, warn, or refuse."""

    OFF = "off"
    AUDIT = "audit"
    ENFORCED = "enforced"


class DataCenter(Entity):
    OBJECT_TYPE = "data_center"
    GRANT_PATHS = {"data_center": "id"}

    quota_mode = models.CharField(max_length=8, choices=QuotaMode, default=QuotaMode.OFF)
    objects = VisibleManager()

    class Meta:
        ordering = ["name"]
        constraints = [models.UniqueConstraint(Lower("name"), name="data_center_name_unique")]


class Balancing(models.TextChoices):
    """Whether VMs are moved to keep the cluster as its policy wants it."""

    OFF = "off", "by hand"
    AUTOMATIC = "automatic", "by itself"


class Cluster(Entity):
    """Hosts alike enough to run each other's VMs."""

    OBJECT_TYPE = "cluster"
    GRANT_PATHS = {"cluster": "id", "data_center": "data_center_id"}

    data_center = models.ForeignKey(DataCenter, on_delete=models.PROTECT, related_name="clusters")
    cpu_model = models.CharField(max_length=64, default="qemu64", help_text="CPU model that every VM of the cluster sees")
    policy = models.ForeignKey("hosts.SchedulingPolicy", null=True, blank=True, on_delete=models.PROTECT, related_name="clusters")
    migration_policy = models.ForeignKey("hosts.MigrationPolicy", null=True, blank=True, on_delete=models.PROTECT, related_name="clusters")
    migrations_per_host = models.PositiveSmallIntegerField(default=2, help_text="VMs that leave or enter one host at the same time")
    migrations_at_once = models.PositiveSmallIntegerField(default=8, help_text="VMs that move in the whole cluster at the same time")
    balancing = models.CharField(max_length=16, choices=Balancing, default=Balancing.OFF)
    moves_per_hour = models.PositiveSmallIntegerField(default=6, help_text="VMs that balancing moves within an hour")
    minimal_gain = models.PositiveSmallIntegerField(default=10, help_text="percent points by which a move brings two hosts closer, at least")
    # What happens to a host that does not answer: hosts.power.fencing.
    fencing_enabled = models.BooleanField(default=True)
    fence_after_seconds = models.PositiveIntegerField(default=60)
    fence_skip_percent = models.PositiveSmallIntegerField(default=50)
    fence_skip_if_guests_answer = models.BooleanField(default=True)
    fence_skip_if_storage_written = models.BooleanField(default=False)
    fence_kdump_seconds = models.PositiveIntegerField(default=0)
    fence_restart = models.BooleanField(default=True)
    objects = VisibleManager()

    class Meta:
        ordering = ["name"]
        constraints = [models.UniqueConstraint(Lower("name"), "data_center", name="cluster_name_unique")]


class HostStatus(models.TextChoices):
    INSTALLING = "installing"
    UP = "up"
    NON_OPERATIONAL = "non_operational", "non operational"
    PREPARING_FOR_MAINTENANCE = "preparing_for_maintenance", "preparing for maintenance"
    MAINTENANCE = "maintenance"
    NON_RESPONSIVE = "non_responsive", "non responsive"
    FENCING = "fencing"
    DOWN = "down"


class HostTransport(models.TextChoices):
    """How libvirtd on the host is reached."""

    TLS = "tls", "TLS with certificates"
    SSH = "ssh", "SSH"
    LOCAL = "local", "this machine"
    TEST = "test", "libvirt's test driver"


class Host(Entity):
    """A machine that runs libvirtd. `status` and what follows it is observed: only hosts.observe writes it."""

    OBJECT_TYPE = "host"
    GRANT_PATHS = {"host": "id", "cluster": "cluster_id", "data_center": "cluster__data_center_id"}

    cluster = models.ForeignKey(Cluster, on_delete=models.PROTECT, related_name="hosts")
    address = models.CharField(max_length=255, help_text="name or IP address; displays are reached there too")
    transport = models.CharField(max_length=8, choices=HostTransport, default=HostTransport.TLS)
    port = models.PositiveIntegerField(default=0, blank=True, help_text="0: the transport's own")
    ssh_user = models.CharField(max_length=64, blank=True, default="root")
    test_uri = models.CharField(max_length=255, blank=True, default="")
    ssh_host_keys = models.TextField(
        blank=True, default="", help_text="the host keys accepted when the host was added; any other is refused"
    )

    status = models.CharField(max_length=32, choices=HostStatus, default=HostStatus.INSTALLING)
    status_reason = models.TextField(blank=True, default="")
    status_since = models.DateTimeField(null=True)
    last_seen_at = models.DateTimeField(null=True)
    hardware_uuid = models.UUIDField(null=True)
    driver = models.CharField(max_length=32, blank=True, default="")
    libvirt_version = models.CharField(max_length=32, blank=True, default="")
    hypervisor_version = models.CharField(max_length=32, blank=True, default="")
    cpu_model = models.CharField(max_length=64, blank=True, default="")
    cpu_count = models.PositiveIntegerField(default=0)
    memory_bytes = models.PositiveBigIntegerField(default=0)
    runs_kvm = models.BooleanField(default=False)
    emulation_only = models.BooleanField(default=False, help_text="never use KVM here, even if libvirt offers it")
    # hypervisor.capabilities.HostCapabilities as a dict: topology, features, devices.
    capabilities = models.JSONField(default=dict)
    objects = VisibleManager()

    class Meta:
        ordering = ["name"]
        indexes = [models.Index(fields=["status"])]
        constraints = [
            models.UniqueConstraint(Lower("name"), name="host_name_unique"),
            models.UniqueConstraint(fields=["transport", "address", "port", "test_uri"], name="host_address_unique"),
        ]


class Enrolment(models.Model):
    """A one-time token with which a new host fetches its certificate and becomes a Host."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    digest = models.CharField(max_length=64, unique=True)
    base_url = models.URLField(max_length=500, default="", help_text="where the host finds this portal")
    host = models.ForeignKey(Host, on_delete=models.CASCADE, related_name="enrolments")
    created_at = models.DateTimeField(auto_now_add=True)
    created_by = models.ForeignKey("accounts.User", null=True, on_delete=models.SET_NULL, related_name="+")
    expires_at = models.DateTimeField()
    used_at = models.DateTimeField(null=True, help_text="when the certificate was fetched")
    completed_at = models.DateTimeField(null=True, help_text="when the host said that it is ready")


class WatchLease(models.Model):
    """Which watcher observes a host, until when. A lease that ran out is anyone's."""

    host = models.OneToOneField(Host, primary_key=True, on_delete=models.CASCADE, related_name="watch_lease")
    watcher = models.UUIDField()
    expires_at = models.DateTimeField()


class Watcher(models.Model):
    """A running watcher process, so that watchers can share the hosts fairly."""

    id = models.UUIDField(primary_key=True)
    seen_at = models.DateTimeField()


from hosts.migration_policies.models import MigrationPolicy  # noqa: E402, F401
from hosts.power.models import HostPower, PowerAgent  # noqa: E402, F401  models of this app in modules of their own
from hosts.scheduling.models import SchedulingPolicy  # noqa: E402, F401
