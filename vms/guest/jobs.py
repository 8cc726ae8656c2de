"""Jobs that ask the guest agent."""

import json
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta

from django.utils import timezone

from hypervisor import guest_agent
from hypervisor.errors import AgentUnresponsive, HypervisorError, InvalidState
from jobs.context import Context
from jobs.engine import register
from jobs.errors import StepFailed
from jobs.kinds import StepDef
from jobs.models import Job
from portal.secrets import decrypt
from vms.guest import observe
from vms.guest.models import GuestPassword
from vms.jobs_run import shutdown
from vms.models import VM
from vms.steps import is_alive, link_to, vm_of

SEAL_SECONDS = 120
NO_CLOUD_INIT = 77
# What must be each machine's own; cloud-init makes it anew at the next boot.
SEAL = f"""command -v cloud-init >/dev/null 2>&1 || exit {NO_CLOUD_INIT}
cloud-init clean --logs || exit 1
rm -f /etc/ssh/ssh_host_* /var/lib/dbus/machine-id /var/lib/systemd/random-seed /root/.bash_history /home/*/.bash_history
: > /etc/machine-id
sync
"""


def _with_agent(step: Callable[[Context, VM], None]) -> Callable[[Context], None]:
    """The step, with a sentence for a guest whose agent does not answer."""

    def do(ctx: Context) -> None:
        vm = vm_of(ctx)
        try:
            step(ctx, vm)
        except AgentUnresponsive as error:
            raise StepFailed(f"The guest agent of {vm.name} does not answer.", str(error)) from None
        except InvalidState as error:
            raise StepFailed(f"{vm.name} is not running.", str(error)) from None

    return do


def look(ctx: Context, vm: VM) -> None:
    observe.reported(vm.pk, guest_agent.guest_facts(link_to(vm), str(vm.pk)))


def set_clock(ctx: Context, vm: VM) -> None:
    guest_agent.set_time(link_to(vm), str(vm.pk), timezone.now())


def set_password(ctx: Context, vm: VM) -> None:
    kept = GuestPassword.objects.filter(pk=ctx.params["kept"], vm=vm).first()
    if kept is None:
        raise StepFailed("The password was given too long ago: ask again.")
    secret = json.loads(decrypt(kept.secret))
    try:
        guest_agent.set_password(link_to(vm), str(vm.pk), kept.account, secret["value"], hashed=secret["hashed"])
    except AgentUnresponsive:
        raise
    except HypervisorError as error:
        raise StepFailed(
            f"The guest of {vm.name} refused the new password of {kept.account}. Is there such an account?", str(error)
        ) from None


def _forget_password(job: Job) -> None:
    GuestPassword.objects.filter(pk=job.params.get("kept")).delete()


def freeze(ctx: Context, vm: VM) -> None:
    """When it thaws is known before it freezes: a worker that dies here leaves no guest frozen for good."""
    observe.frozen(vm, timezone.now() + timedelta(seconds=ctx.params["seconds"]))
    try:
        frozen = guest_agent.freeze(link_to(vm), str(vm.pk))
    except HypervisorError:
        _thaw_again(vm)
        raise
    # Counted from here: the guest may have taken long to write what it held.
    observe.frozen(vm, timezone.now() + timedelta(seconds=ctx.params["seconds"]))
    ctx.log(f"{frozen} filesystems are frozen for at most {ctx.params['seconds']} seconds.")


def _thaw_again(vm: VM) -> None:
    """A freeze that failed may have frozen some of it: what cannot be thawed now is thawed when its time is over."""
    with suppress(HypervisorError):
        guest_agent.thaw(link_to(vm), str(vm.pk))
        observe.frozen(vm, None)


def thaw(ctx: Context, vm: VM) -> None:
    if is_alive(vm):
        ctx.log(f"{guest_agent.thaw(link_to(vm), str(vm.pk))} filesystems were thawed.")
    observe.frozen(vm, None)


def clean(ctx: Context, vm: VM) -> None:
    code, said = guest_agent.execute(link_to(vm), str(vm.pk), "/bin/sh", ("-c", SEAL), SEAL_SECONDS)
    if code == NO_CLOUD_INIT:
        raise StepFailed(f"The guest of {vm.name} has no cloud-init, which would make its host keys anew: install it there.")
    if code:
        raise StepFailed(f"cloud-init clean failed in the guest of {vm.name}.", said)


def clean_if_alive(ctx: Context, vm: VM) -> None:
    """A second try finds it cleaned and off."""
    if ctx.facts.get("cleaned"):
        return
    clean(ctx, vm)
    ctx.save_facts(cleaned=True)


def note_sealed(ctx: Context) -> None:
    observe.sealed(vm_of(ctx))


register("vm.guest_look", [StepDef("look", "Ask the guest agent", _with_agent(look))], cancellable=False)
register("vm.guest_time", [StepDef("time", "Set the clock", _with_agent(set_clock))], cancellable=False)
register(
    "vm.guest_password",
    [StepDef("password", "Set the password", _with_agent(set_password))],
    cancellable=False,
    on_end=_forget_password,
)
register("vm.guest_freeze", [StepDef("freeze", "Freeze the filesystems", _with_agent(freeze))], cancellable=False)
register("vm.guest_thaw", [StepDef("thaw", "Thaw the filesystems", _with_agent(thaw))], cancellable=False)
register(
    "vm.guest_seal",
    [
        StepDef("clean", "Remove what must be each machine's own", _with_agent(clean_if_alive)),
        StepDef("off", "Wait for the guest to shut down", shutdown),
        StepDef("note", "Note that it is sealed", note_sealed),
    ],
)
