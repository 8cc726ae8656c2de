"""The verbs on instance types. They belong to the whole system, so the permission is asked there."""

from django.db import IntegrityError, transaction

from accounts.models import User
from accounts.permissions import require
from events.log import record
from portal.errors import FieldError
from portal.names import valid_name
from vms.models import InstanceType
from vms.services import MEMORY_MIB, VCPUS


def save(user: User, size: InstanceType) -> InstanceType:
    """Creates or changes an instance type. Raises FieldError."""
    new = size._state.adding
    require(user, "template.edit")  # not template.create: many hold that for templates of their own
    size.name = valid_name(size.name)
    if size.vcpus not in VCPUS:
        raise FieldError("vcpus", f"A VM has 1 to {VCPUS.stop - 1} virtual CPUs.")
    if size.memory_mib not in MEMORY_MIB:
        raise FieldError("memory_mib", f"Memory is at least {MEMORY_MIB.start} MiB and at most {MEMORY_MIB.stop >> 20} TiB.")
    try:
        with transaction.atomic():
            size.save()
    except IntegrityError:
        raise FieldError("name", f"An instance type named {size.name} exists already.") from None
    what = f"{size.name}: {size.vcpus} CPU, {size.memory_mib} MiB"
    record("instance_type.created" if new else "instance_type.edited", f"Instance type {what}", obj=size, user=user)
    return size


def remove(user: User, size: InstanceType) -> None:
    """VMs of this size stay as they are."""
    require(user, "template.delete")
    record("instance_type.removed", f"Instance type {size.name} was removed", obj=size, user=user)
    size.delete()
