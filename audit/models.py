"""The chain of entries, what waits to be sealed into it, and where it begins and ends."""

from typing import Any, NoReturn

from django.db import models


class Outcome(models.TextChoices):
    DONE = "done"
    REFUSED = "refused"
    FAILED = "failed"


class Channel(models.TextChoices):
    PAGE = "page"
    API = "api", "API"
    JOB = "job"
    SYSTEM = "system", "Vireo itself"


class AppendOnly(Exception):
    """The audit log is only ever added to."""

    def __init__(self) -> None:
        super().__init__("The audit log is only ever added to: its entries cannot be changed or removed.")


class AppendOnlyQuerySet(models.QuerySet):
    """Reads and adds, nothing else."""

    def _refuse(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise AppendOnly

    update = delete = bulk_update = update_or_create = _raw_delete = _update = _refuse  # type: ignore[assignment]

    def bulk_create(self, objs: Any, *args: Any, **kwargs: Any) -> Any:
        if kwargs.get("update_conflicts"):
            raise AppendOnly
        return super().bulk_create(objs, *args, **kwargs)


class Entry(models.Model):
    """One thing that somebody did, or tried to do.

    It names users, objects and jobs by id and name, not by foreign keys: an entry outlives what it tells of, and removing
    that must not change the entry. `id` is the place in the chain, without gaps. `hash` covers every other field and the
    hash before it (see audit.chain).
    """

    OBJECT_TYPE = "audit"

    id = models.BigIntegerField(primary_key=True)
    at = models.DateTimeField()
    actor_id = models.CharField(max_length=36, blank=True, default="")
    actor_name = models.CharField(max_length=255, blank=True, default="")
    as_whom_id = models.CharField(max_length=36, blank=True, default="")
    as_whom = models.CharField(max_length=255, blank=True, default="")
    action = models.CharField(max_length=64)
    object_type = models.CharField(max_length=32, blank=True, default="")
    object_id = models.CharField(max_length=36, blank=True, default="")
    object_name = models.CharField(max_length=255, blank=True, default="")
    address = models.CharField(max_length=45, blank=True, default="")
    channel = models.CharField(max_length=8, choices=Channel)
    token = models.CharField(max_length=180, blank=True, default="", help_text="the API token's name, never its text")
    job_id = models.CharField(max_length=36, blank=True, default="")
    outcome = models.CharField(max_length=8, choices=Outcome, default=Outcome.DONE)
    message = models.TextField(blank=True, default="")
    before = models.JSONField(default=dict)
    after = models.JSONField(default=dict)
    details = models.JSONField(default=dict)
    previous_hash = models.CharField(max_length=64, blank=True)
    hash = models.CharField(max_length=64)

    objects = AppendOnlyQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]
        verbose_name_plural = "entries"
        indexes = [
            models.Index(fields=["at"], name="audit_at"),
            models.Index(fields=["actor_id", "-id"], name="audit_actor"),
            models.Index(fields=["object_type", "object_id", "-id"], name="audit_object"),
            models.Index(fields=["action", "-id"], name="audit_action"),
        ]

    def __str__(self) -> str:
        return self.message

    def save(self, *args: Any, **kwargs: Any) -> None:
        if not self._state.adding:
            raise AppendOnly
        super().save(*args, **{**kwargs, "force_insert": True})

    def delete(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise AppendOnly

    @property
    def who(self) -> str:
        """For people to read: nobody is Vireo itself, or somebody who was not signed in."""
        return self.actor_name or ("not signed in" if self.channel in (Channel.PAGE, Channel.API) else "Vireo")


class Waiting(models.Model):
    """What is written but not yet part of the chain: from a change's own transaction until just after its commit."""

    fields = models.JSONField()


class Head(models.Model):
    """The one row that says where the chain ends and, once old entries were removed, after which entry it begins."""

    last_id = models.BigIntegerField(default=0)
    last_hash = models.CharField(max_length=64, blank=True, default="")
    removed_to_id = models.BigIntegerField(default=0)
    removed_hash = models.CharField(max_length=64, blank=True, default="")
