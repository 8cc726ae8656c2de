"""Grants with an end: they give nothing after it, and nobody gives for longer than they hold."""

from datetime import timedelta

import pytest
from django.core.exceptions import PermissionDenied, ValidationError
from django.urls import reverse
from django.utils import timezone

from accounts import services
from accounts.managers import next_end
from accounts.models import Grant, Role
from accounts.permissions import allowed, anywhere, effective, grant
from tests.build import make_user, make_vm
from vms.models import VM

pytestmark = pytest.mark.django_db


def _ends(held: Grant, **after: float) -> None:
    Grant.objects.filter(pk=held.pk).update(expires_at=timezone.now() + timedelta(**after))


def test_an_ended_grant_gives_nothing():
    vm, user = make_vm(), make_user()
    held = grant("UserRole", vm, user=user)
    _ends(held, hours=1)
    assert allowed(user, "vm.start", vm) and next_end(user)
    _ends(held, seconds=-1)
    assert not allowed(user, "vm.start", vm)
    assert not effective(user, vm) and not anywhere(user) and next_end(user) is None
    assert not VM.objects.visible_to(user).exists()


def test_giving_again_renews_the_end_and_giving_without_takes_it_away():
    root, user, vm, role = make_user(role="SuperUser"), make_user(), make_vm(), Role.objects.get(name="UserRole")
    soon = timezone.now() + timedelta(hours=1)
    assert services.give(root, role, "vm", vm, user=user, expires_at=soon).expires_at == soon
    services.give(root, role, "vm", vm, user=user)
    assert Grant.objects.get(user=user).expires_at is None


def test_an_end_lies_ahead():
    root, user, role = make_user(role="SuperUser"), make_user(), Role.objects.get(name="UserRole")
    with pytest.raises(ValidationError, match="passed"):
        services.give(root, role, "system", None, user=user, expires_at=timezone.now())


def test_nobody_gives_for_longer_than_they_hold():
    make_user(role="SuperUser")
    guest = make_user()
    _ends(grant("SuperUser", user=guest), hours=1)
    role = Role.objects.get(name="UserRole")
    with pytest.raises(PermissionDenied):
        services.give(guest, role, "system", None, user=guest)
    with pytest.raises(PermissionDenied):
        services.give(guest, role, "system", None, user=guest, expires_at=timezone.now() + timedelta(hours=2))
    services.give(guest, role, "system", None, user=make_user(), expires_at=timezone.now() + timedelta(minutes=5))


def test_the_last_super_user_is_one_without_end():
    root = make_user(role="SuperUser")
    guest = make_user()
    _ends(grant("SuperUser", user=guest), hours=1)
    with pytest.raises(services.LastSuperUser):
        services.withdraw(guest, Grant.objects.get(user=root))
    role = Role.objects.get(name="SuperUser")
    with pytest.raises(services.LastSuperUser):
        services.give(root, role, "system", None, user=root, expires_at=timezone.now() + timedelta(hours=1))
    assert Grant.objects.get(user=root).expires_at is None


def test_the_form_takes_an_end(client):
    client.force_login(make_user(role="SuperUser"))
    user, role = make_user(), Role.objects.get(name="UserRole")
    fields = {"role": role.pk, "user": user.pk, "object_type": "system", "expires_at": "2999-01-02T03:04"}
    client.post(reverse("accounts:give"), fields)
    assert Grant.objects.get(user=user).expires_at.isoformat() == "2999-01-02T03:04:00+00:00"
    assert "until 2999-01-02 03:04" in client.get(reverse("accounts:user", args=[user.pk])).content.decode()
