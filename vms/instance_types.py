"""Instance types: the sizes that a user chooses from, so that nobody has to know how much memory a machine needs."""

import uuid

from django.db import models
from django.db.models.functions import Lower


class InstanceType(models.Model):
    """A named size. Choosing one copies its numbers; changing it later changes no VM."""

    OBJECT_TYPE = "instance_type"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    name = models.CharField(max_length=64)
    description = models.CharField(max_length=255, blank=True, default="")
    vcpus = models.PositiveIntegerField()
    memory_mib = models.PositiveIntegerField()

    class Meta:
        ordering = ["memory_mib", "vcpus", "name"]
        constraints = [models.UniqueConstraint(Lower("name"), name="instance_type_name_unique")]

    def __str__(self) -> str:
        return self.name
