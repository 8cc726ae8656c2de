"""The section "First boot" of forms, and the forms of the guest's page. They read and shape; services decide."""

from collections.abc import Sequence
from typing import Any

from django import forms
from django.core.exceptions import ValidationError

from accounts.models import User
from vms.guest.first_boot import keys_of
from vms.guest.services import DEFAULT_FREEZE_SECONDS, FREEZE_SECONDS
from vms.guest.settings import FirstBoot, Method, NicSetup, SetUpBy, login_for
from vms.models import Template

AS_TEMPLATE = ""
_LINES = {"rows": 3, "spellcheck": "false", "autocapitalize": "off", "class": "v-mono"}
_PLAIN = {"autocomplete": "off", "spellcheck": "false", "autocapitalize": "off"}
_ALWAYS = ("by", "user", "password", "hostname")
_LINUX = ("ssh_keys", "script", "user_data")
_WINDOWS = ("product_key", "time_zone", "organization", "owner", "locale")


class FirstBootForm(forms.Form):
    """A section of a larger form: it has a prefix, and its fields are named as those of FirstBoot.

    Args:
        user: whose keys and login name it offers.
        choose: the form asks which program reads the settings; otherwise the template says it.
        nics: names of the VM's NICs, each with its own row.
        held: the settings that are there; None for a new VM.
    """

    by = forms.ChoiceField(choices=[(AS_TEMPLATE, "As the template says"), *SetUpBy.choices], required=False, label="Set up by")
    user = forms.CharField(required=False, max_length=32, label="User name", widget=forms.TextInput(attrs=_PLAIN))
    password = forms.CharField(
        required=False,
        max_length=255,
        strip=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
        help_text="Kept as a hash; for Windows encrypted.",
    )
    hostname = forms.CharField(
        required=False, max_length=253, label="Host name", widget=forms.TextInput(attrs=_PLAIN), help_text="Empty: made of the VM's name."
    )
    ssh_keys = forms.CharField(
        required=False, label="SSH keys", max_length=1 << 20, widget=forms.Textarea(attrs=_LINES), help_text="Public keys, one a line."
    )
    script = forms.CharField(
        required=False,
        max_length=1 << 16,
        label="Run once",
        widget=forms.Textarea(attrs=_LINES),
        help_text="A script, run as root at the end of the first boot.",
    )
    user_data = forms.CharField(
        required=False,
        max_length=1 << 16,
        label="Further cloud-config",
        widget=forms.Textarea(attrs=_LINES),
        help_text="YAML, such as «packages: [htop]».",
    )
    product_key = forms.CharField(required=False, max_length=64, widget=forms.TextInput(attrs=_PLAIN))
    time_zone = forms.CharField(required=False, max_length=64, help_text="As Windows names it: W. Europe Standard Time.")
    organization = forms.CharField(required=False, max_length=255)
    owner = forms.CharField(required=False, max_length=255)
    locale = forms.CharField(required=False, max_length=20, help_text="For example en-US or de-DE.")

    def __init__(
        self,
        user: User,
        data: Any = None,
        *,
        choose: bool = True,
        nics: Sequence[str] = ("nic1",),
        held: FirstBoot | None = None,
    ) -> None:
        super().__init__(data, prefix="first_boot", initial=_initial(user, held))
        self.nic_names = tuple(nics)
        self.is_new = held is None
        for name in self.nic_names:
            self._add_nic(name)
        if not choose:
            del self.fields["by"]
        elif held is not None:
            self.fields["by"].choices = SetUpBy.choices  # type: ignore[attr-defined]
            for name, is_set in (("password", held.password or held.password_hash), ("product_key", held.product_key)):
                if is_set:
                    self.fields[name].help_text = "One is set. Empty: it stays."

    def _add_nic(self, name: str) -> None:
        self.fields[f"{name}-method"] = forms.ChoiceField(choices=Method.choices, required=False, label=f"{name}: address by")
        for part, label, help_text in (
            ("address", "Address", "With prefix: 192.0.2.10/24"),
            ("gateway", "Gateway", ""),
            ("dns", "Name servers", "Separated by spaces."),
        ):
            field = forms.CharField(required=False, max_length=255, label=label, help_text=help_text, widget=forms.TextInput(attrs=_PLAIN))
            self.fields[f"{name}-{part}"] = field

    @property
    def was_sent(self) -> bool:
        """Whether the request had this section at all."""
        return any(name.startswith("first_boot-") for name in self.data)

    @property
    def chooser(self) -> forms.BoundField | None:
        return self["by"] if "by" in self.fields else None

    @property
    def who_fields(self) -> list[forms.BoundField]:
        return [self[name] for name in ("user", "password", "hostname")]

    @property
    def linux_fields(self) -> list[forms.BoundField]:
        return [self[name] for name in _LINUX]

    @property
    def windows_fields(self) -> list[forms.BoundField]:
        return [self[name] for name in _WINDOWS]

    @property
    def nic_rows(self) -> list[tuple[forms.BoundField, list[forms.BoundField]]]:
        """Of each NIC its method, and what only a fixed address needs."""
        parts = ("address", "gateway", "dns")
        return [(self[f"{name}-method"], [self[f"{name}-{part}"] for part in parts]) for name in self.nic_names]

    def settings(self, template: Template | None = None) -> FirstBoot:
        """What the form says; where it leaves the choice to the template, that one says who reads it."""
        data = self.cleaned_data
        by = data.get("by") or (template.set_up_by if template else SetUpBy.NONE)
        return FirstBoot(
            by=by,
            ssh_keys=tuple(data["ssh_keys"].splitlines()),
            nics=tuple(self._nic(name) for name in self.nic_names if self.cleaned_data.get(f"{name}-method", "") not in ("", Method.DHCP)),
            **{name: data[name] for name in ("user", "password", "hostname", "script", "user_data", *_WINDOWS)},
        )

    def _nic(self, name: str) -> NicSetup:
        data = self.cleaned_data
        servers = tuple(data[f"{name}-dns"].replace(",", " ").split())
        return NicSetup(name, data[f"{name}-method"], data[f"{name}-address"].strip(), data[f"{name}-gateway"].strip(), servers)

    def take_errors(self, error: ValidationError) -> ValidationError | None:
        """Puts those of a service's refusal at their fields here; the rest is the larger form's."""
        if not hasattr(error, "error_dict"):
            return error
        rest = {}
        for name, errors in error.error_dict.items():
            field = f"{self.nic_names[0]}-address" if name == "nics" and self.nic_names else name
            if field in self.fields and name not in ("name", "description"):
                self.add_error(field, errors)
            else:
                rest[name] = errors
        return ValidationError(rest) if rest else None


class PasswordForm(forms.Form):
    account = forms.CharField(max_length=64, widget=forms.TextInput(attrs=_PLAIN), help_text="An account of the guest.")
    password = forms.CharField(
        max_length=255, strip=False, label="New password", widget=forms.PasswordInput(attrs={"autocomplete": "new-password"})
    )


class FreezeForm(forms.Form):
    seconds = forms.IntegerField(
        min_value=FREEZE_SECONDS.start,
        max_value=FREEZE_SECONDS.stop - 1,
        initial=DEFAULT_FREEZE_SECONDS,
        label="For at most (seconds)",
        help_text="Programs in the guest that write wait so long.",
    )


def _initial(user: User, held: FirstBoot | None) -> dict[str, Any]:
    if held is None:
        return {"by": AS_TEMPLATE, "user": login_for(user.username), "ssh_keys": "\n".join(keys_of(user))}
    if held.by == SetUpBy.NONE:
        return {"by": SetUpBy.NONE, "user": login_for(user.username), "ssh_keys": "\n".join(keys_of(user))}
    shown = ("by", "user", "hostname", "script", "user_data", "time_zone", "organization", "owner", "locale")
    initial: dict[str, Any] = {name: getattr(held, name) for name in shown} | {"ssh_keys": "\n".join(held.ssh_keys)}
    for nic in held.nics:
        initial |= {f"{nic.name}-method": nic.method, f"{nic.name}-address": nic.address, f"{nic.name}-gateway": nic.gateway}
        initial[f"{nic.name}-dns"] = " ".join(nic.dns)
    return initial
