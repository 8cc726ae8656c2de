"""Jobs, their steps, log lines and locks."""

import uuid

from django.db import models


class JobStatus(models.TextChoices):
    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @classmethod
    def finished(cls) -> tuple["JobStatus", ...]:
        return (cls.SUCCEEDED, cls.FAILED, cls.CANCELLED)


class Job(models.Model):
    """One change to a host. The row is the queue of record: whoever claims it runs it."""

    OBJECT_TYPE = "job"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    kind = models.CharField(max_length=64)
    title = models.CharField(max_length=300)
    # The object that the job is about, for pages and permissions; `params` holds ids and plain values, never a secret.
    object_type = models.CharField(max_length=20)
    object_id = models.UUIDField()
    object_name = models.CharField(max_length=255, blank=True, default="")
    params = models.JSONField(default=dict)
    # What steps found out and later steps or undo need, e.g. the path of a volume that was made.
    facts = models.JSONField(default=dict)
    user = models.ForeignKey("accounts.User", null=True, on_delete=models.SET_NULL, related_name="jobs")
    status = models.CharField(max_length=16, choices=JobStatus, default=JobStatus.QUEUED)
    progress = models.PositiveSmallIntegerField(default=0, help_text="percent")
    progress_known = models.BooleanField(default=False, help_text="false: show an indeterminate bar")
    message = models.CharField(max_length=500, blank=True, default="", help_text="the step that runs, in words")
    error = models.TextField(blank=True, default="")
    error_detail = models.TextField(blank=True, default="", help_text="libvirt's own text")
    cancellable = models.BooleanField(default=True)
    cancel_requested = models.BooleanField(default=False)
    claimed_by = models.UUIDField(null=True)
    heartbeat_at = models.DateTimeField(null=True)
    attempts = models.PositiveSmallIntegerField(default=0)
    undoing = models.BooleanField(default=False)
    delivered_at = models.DateTimeField(null=True, help_text="when its id was last sent to the workers")
    retry_at = models.DateTimeField(null=True, help_text="not before this: an undo waits for its host")
    rev = models.PositiveBigIntegerField(default=0)
    created_at = models.DateTimeField(auto_now_add=True)
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["-created_at"]
        indexes = [
            models.Index(fields=["status", "heartbeat_at"]),
            models.Index(fields=["object_type", "object_id", "-created_at"]),
            models.Index(fields=["-created_at"]),
        ]

    def __str__(self) -> str:
        return self.title


class StepStatus(models.TextChoices):
    PENDING = "pending"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    UNDONE = "undone"
    UNDO_FAILED = "undo_failed", "undo failed"


class Step(models.Model):
    job = models.ForeignKey(Job, on_delete=models.CASCADE, related_name="steps")
    index = models.PositiveSmallIntegerField()
    name = models.CharField(max_length=64)
    title = models.CharField(max_length=200)
    status = models.CharField(max_length=16, choices=StepStatus, default=StepStatus.PENDING)
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["index"]
        constraints = [models.UniqueConstraint(fields=["job", "index"], name="step_index_unique")]


class LogLine(models.Model):
    job = models.ForeignKey(Job, on_delete=models.CASCADE, related_name="log_lines")
    at = models.DateTimeField(auto_now_add=True)
    text = models.TextField()

    class Meta:
        ordering = ["id"]


class Lock(models.Model):
    """An object that a job holds. Inserted in the job's own transaction, in order of (type, id): no deadlock."""

    object_type = models.CharField(max_length=20)
    object_id = models.UUIDField()
    job = models.ForeignKey(Job, on_delete=models.CASCADE, related_name="locks")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["object_type", "object_id"], name="lock_once")]
