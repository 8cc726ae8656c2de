"""The seed CD: the image that a guest reads its settings from. Pure: settings in, bytes out."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from portal.errors import FieldError
from vms.guest import cloud_init, windows
from vms.guest.settings import FirstBoot, NicSetup, SetUpBy, hostname_for

# A volume of one size: new settings go into the old one's place.
SEED_BYTES = 1 << 20
CLOUD_INIT_LABEL, WINDOWS_LABEL = "cidata", "UNATTEND"


@dataclass(frozen=True)
class SeedFor:
    """Whom the CD is for.

    Args:
        instance_id: another one makes cloud-init begin anew.
        nics: name and MAC address of each, in their order.
    """

    vm_name: str
    instance_id: str
    nics: Sequence[tuple[str, str]] = ()


def files(settings: FirstBoot, seed: SeedFor) -> tuple[str, dict[str, str]]:
    """The volume's label and the texts in it."""
    if settings.by == SetUpBy.SYSPREP:
        text = windows.unattend(settings, settings.hostname or hostname_for(seed.vm_name, 15))
        return WINDOWS_LABEL, {"Autounattend.xml": text, "Unattend.xml": text}  # Setup looks for the one, sysprep for the other
    hostname = settings.hostname or hostname_for(seed.vm_name)
    wanted = {nic.name: nic for nic in settings.nics}
    nics = [(mac, wanted.get(name, NicSetup(name))) for name, mac in seed.nics]
    texts = {"user-data": cloud_init.user_data(settings, hostname), "meta-data": cloud_init.meta_data(seed.instance_id, hostname)}
    if nics:
        texts["network-config"] = cloud_init.network_config(nics)
    return CLOUD_INIT_LABEL, texts


def image(settings: FirstBoot, seed: SeedFor) -> bytes:
    """The ISO 9660 image, filled up to SEED_BYTES.

    Raises:
        FieldError: all of it together is too much.
    """
    data = _iso(*files(settings, seed))
    if len(data) > SEED_BYTES:
        raise FieldError("script", f"Script, user data and keys are more than {SEED_BYTES >> 10} KiB together.")
    return data.ljust(SEED_BYTES, b"\0")


def _iso(label: str, texts: Mapping[str, str]) -> bytes:
    import pycdlib  # only a worker needs its megabytes, and only when it writes a CD

    iso = pycdlib.PyCdlib()
    iso.new(interchange_level=3, vol_ident=label, joliet=3, rock_ridge="1.09")
    for number, (name, text) in enumerate(sorted(texts.items())):
        data = text.encode()
        iso.add_fp(io.BytesIO(data), len(data), f"/FILE{number}.;1", rr_name=name, joliet_path=f"/{name}")
    made = io.BytesIO()
    iso.write_fp(made)
    iso.close()
    return made.getvalue()
