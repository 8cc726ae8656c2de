"""Forms of storage domains: what a kind asks for, and what all have."""

from typing import Any

from django import forms

from accounts.models import User
from hosts.models import DataCenter
from portal.forms import SizeField
from storage.kinds import Kind


def _source_fields(kind: Kind, has_secret: bool = False) -> dict[str, forms.Field]:
    """The service checks what was typed: here it is only asked for."""
    made: dict[str, forms.Field] = {}
    for field in kind.fields:
        widget = forms.PasswordInput if field.secret else forms.TextInput
        help_text = "Empty: the one that is stored." if field.secret and has_secret else field.help
        made[field.name] = forms.CharField(
            max_length=1024,
            required=field.required,
            label=field.label,
            help_text=help_text,
            strip=not field.secret,
            widget=widget(attrs={"autocomplete": "new-password" if field.secret else "off", "spellcheck": "false"}),
        )
    return made


class _SpaceFields(forms.Form):
    warning_percent = forms.IntegerField(
        min_value=0,
        max_value=90,
        initial=10,
        label="Warn below, in percent free",
        help_text="0: never. An event is left when it is crossed.",
    )
    critical_bytes = SizeField(unit="g", initial="1 GiB", label="No new disks below", help_text="0: never refuse for want of free space.")
    overcommit = forms.DecimalField(
        min_value=0,
        max_value=1000,
        max_digits=6,
        decimal_places=2,
        initial=0,
        label="Over-allocation limit",
        help_text="The most that disks may promise, as a multiple of the capacity; 0: no limit.",
    )


class DomainForm(_SpaceFields):
    name = forms.CharField(max_length=255, widget=forms.TextInput(attrs={"autocomplete": "off", "autofocus": True}))
    data_center = forms.ModelChoiceField(DataCenter.objects.none(), empty_label=None)
    description = forms.CharField(max_length=4000, required=False)
    takes_in = forms.BooleanField(required=False, label="Look for disks that lie there already")
    kind = forms.CharField(widget=forms.HiddenInput)

    def __init__(self, user: User, kind: Kind, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._kind = kind
        self.fields["data_center"].queryset = DataCenter.objects.visible_to(user, "storage_domain.create")  # type: ignore[attr-defined]
        self.fields["kind"].initial = kind.key
        self.fields |= _source_fields(kind)
        for name in self.base_fields:
            if name in _SpaceFields.base_fields:
                self.fields[name].required = False
        for field in kind.fields:
            if field.name == "initiator":
                self.fields["initiator"].initial = "iqn.2026-01.local.vireo:hosts"
        self.order_fields(["name", "data_center", *(field.name for field in kind.fields), "description"])

    def split(self, data: dict[str, Any]) -> dict[str, Any]:
        """NewDomain's arguments: what the kind asks for apart from the rest; what was left empty keeps its default."""
        names = {field.name for field in self._kind.fields} - {"path"}
        rest = {name: value for name, value in data.items() if name not in names and name != "kind" and value is not None}
        return {**rest, "source": {name: data[name] for name in names}}


class EditDomainForm(_SpaceFields):
    name = forms.CharField(max_length=255)
    description = forms.CharField(max_length=4000, required=False)
    field_order = ("name", "description")


class ConnectionForm(forms.Form):
    def __init__(self, kind: Kind, *arguments: Any, has_secret: bool = False, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.fields |= _source_fields(kind, has_secret)


class DestroyForm(forms.Form):
    confirm_name = forms.CharField(label="Name of the storage domain", widget=forms.TextInput(attrs={"autocomplete": "off"}))

    def __init__(self, name: str, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.fields["confirm_name"].help_text = f"Type “{name}” to confirm."
