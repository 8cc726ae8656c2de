"""What people say about restarts."""

from django.db import transaction

from accounts.models import User
from accounts.permissions import require
from events.log import record
from portal.errors import NotPossible
from portal.live import publish
from vms.ha.models import Restart
from vms.models import VM


def leave_down(user: User, vm: VM) -> None:
    """The VM stays as it is: who may stop it may end its restarts. Raises PermissionDenied, NotPossible when none waits."""
    require(user, "vm.stop", vm)
    with transaction.atomic():
        if not Restart.objects.filter(vm=vm).delete()[0]:
            raise NotPossible(f"{vm.name} does not wait to run again.")
        record("vm.left_down", f"{vm.name} stays down until somebody runs it", obj=vm, user=user)
        publish("vm", vm.pk, "changed", vm.rev)
