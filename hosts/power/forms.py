"""Forms of power management. An agent's form is drawn from its metadata."""

from typing import Any

from django import forms

from accounts.models import User
from hosts.models import Host, HostTransport
from hosts.power.catalogue import Agent, Field
from hosts.power.models import PowerAgent


class ChooseAgentForm(forms.Form):
    agent = forms.ChoiceField(
        label="Fence agent", help_text="fence_redfish suits most boards of the last years, fence_ipmilan the older ones."
    )

    def __init__(self, names: list[str], *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.fields["agent"].choices = [(name, name.removeprefix("fence_")) for name in names]  # type: ignore[attr-defined]


class AgentForm(forms.Form):
    """The options of one agent. Args: row: the stored agent that is edited; its secrets are never shown."""

    with_previous = forms.BooleanField(required=False, label="Run at the same time as the agent before it")

    def __init__(self, agent: Agent, row: PowerAgent | None = None, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.agent = agent
        stored = row.secrets if row is not None else {}
        for field in agent.fields:
            self.fields[field.name] = _drawn(field, field.name in stored)
            if row is not None and field.kind != "secret":
                value = row.options.get(field.name, field.default)
                self.initial[field.name] = value == "1" if field.kind == "flag" else value
        if row is not None:
            self.initial["with_previous"] = row.with_previous

    @property
    def usual(self) -> list[Any]:
        return [self[field.name] for field in self.agent.fields if not field.advanced]

    @property
    def advanced(self) -> list[Any]:
        return [self["with_previous"], *(self[field.name] for field in self.agent.fields if field.advanced)]

    @property
    def advanced_has_errors(self) -> bool:
        return any(field.errors for field in self.advanced)

    def values(self) -> dict[str, Any]:
        """The agent's own options, as they were given."""
        return {field.name: self.cleaned_data.get(field.name) for field in self.agent.fields}


def _drawn(field: Field, kept: bool) -> forms.Field:
    common: dict[str, Any] = {"label": field.label, "help_text": field.help, "required": field.required and not kept}
    if field.kind == "flag":
        return forms.BooleanField(**common | {"required": False}, initial=field.default == "1")
    if field.kind == "number":
        return forms.IntegerField(min_value=0, **common, initial=field.default)
    if field.kind == "choice":
        choices = [(choice, choice) for choice in field.choices]
        return forms.ChoiceField(choices=choices if field.default else [("", "—"), *choices], **common, initial=field.default)
    if field.kind == "secret":
        if kept:
            common["help_text"] = "Left empty, it stays as it is."
        return forms.CharField(max_length=255, strip=False, widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}), **common)
    return forms.CharField(max_length=255, **common, initial=field.default, widget=forms.TextInput(attrs={"autocomplete": "off"}))


class PowerForm(forms.Form):
    enabled = forms.BooleanField(required=False, label="Vireo fences this host when it does not answer")
    proxy = forms.ModelChoiceField(
        Host.objects.none(),
        required=False,
        empty_label="Vireo itself",
        label="Run its agents on",
        help_text="A host reached by SSH that has Debian's fence-agents, for boards that Vireo's own machine cannot reach.",
    )

    def __init__(self, user: User, host: Host, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        others = Host.objects.visible_to(user, "host.edit").filter(transport=HostTransport.SSH).exclude(pk=host.pk)
        chosen = self.initial.get("proxy")
        if chosen is not None:
            others = others | Host.objects.visible_to(user).filter(pk=chosen.pk)
        self.fields["proxy"].queryset = others  # type: ignore[attr-defined]


class ConfirmOffForm(forms.Form):
    name = forms.CharField(max_length=255, label="The host's name, to confirm", widget=forms.TextInput(attrs={"autocomplete": "off"}))


class FencingForm(forms.Form):
    """The cluster's fencing policy; its fields are those of Cluster."""

    fencing_enabled = forms.BooleanField(required=False, label="Fence hosts that do not answer")
    fence_after_seconds = forms.IntegerField(min_value=5, max_value=3600, label="Seconds without an answer before a host is fenced")
    fence_kdump_seconds = forms.IntegerField(
        min_value=0,
        max_value=3600,
        label="Further seconds for a kernel's crash dump",
        help_text="So that a crashed host can write its memory down.",
    )
    fence_skip_percent = forms.IntegerField(
        min_value=1,
        max_value=100,
        label="Fence nobody when so many percent of the hosts do not answer",
        help_text="Then rather the network is at fault. One silent host beside others that answer never counts as such.",
    )
    fence_skip_if_guests_answer = forms.BooleanField(
        required=False, label="Not while its guests answer", help_text="Then the machine lives, and only its libvirtd does not."
    )
    fence_skip_if_storage_written = forms.BooleanField(
        required=False,
        label="Not while its guests write to their disks",
        help_text="Seen through another host, on storage that both have as files. A host that lost its network alone is then never fenced.",
    )
    fence_restart = forms.BooleanField(required=False, label="Switch a fenced host on again")
