"""What a disk of its own takes of a quota. Called by storage.services inside the transaction that writes its row."""

from accounts.models import User
from accounts.quotas import rules
from accounts.quotas.models import Resource
from storage.models import Disk


def take_disk(user: User, disk: Disk, size_field: str) -> None:
    """Raises FieldError at the field that says how large the disk is."""
    assert disk.domain is not None  # only what an adopted VM brings has none
    rules.note_missing(user, disk.quota, disk.domain.data_center_id, f"{disk} was made without a quota", disk.domain)
    claim = rules.Claim(Resource.STORAGE, disk.capacity_bytes, disk.domain.pk)
    rules.take(user, disk.quota, [claim], subject="this disk", fields={Resource.STORAGE: size_field}, obj=disk)
