"""The base of every inventory model: UUID key, name, revision, and its place in the tree of grants."""

import uuid
from typing import ClassVar

from django.db import models
from django.urls import reverse


class Entity(models.Model):
    """A thing with a page of its own.

    `rev` grows with every published change, so that a browser can drop a message older than what it shows.
    `OBJECT_TYPE` names the type in grants, topics, events and URLs. `GRANT_PATHS` says which objects a grant
    may sit on to reach this one: object type -> lookup from this model to that object's id.
    """

    OBJECT_TYPE: ClassVar[str] = ""
    GRANT_PATHS: ClassVar[dict[str, str]] = {}

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    name = models.CharField(max_length=255)
    description = models.TextField(blank=True, default="", max_length=4000)
    rev = models.PositiveBigIntegerField(default=0, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return self.name

    def get_absolute_url(self) -> str:
        return reverse(f"{self._meta.app_label}:{self.OBJECT_TYPE.replace('_', '-')}", args=[self.pk])

    @property
    def topic(self) -> str:
        """The live topic that carries this object's changes, e.g. `vm:0f3c…`."""
        return f"{self.OBJECT_TYPE}:{self.pk}"
