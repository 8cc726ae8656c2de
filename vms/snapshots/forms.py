"""Forms of snapshots. They read; vms.snapshots.services decides."""

from typing import Any

from django import forms

from vms.snapshots import can
from vms.snapshots.models import Snapshot

_NAME = {"autocomplete": "off", "spellcheck": "false"}


class NameForm(forms.Form):
    name = forms.CharField(max_length=255, widget=forms.TextInput(attrs=_NAME))
    note = forms.CharField(max_length=4000, required=False, widget=forms.Textarea(attrs={"rows": 3}))


class TakeForm(NameForm):
    memory = forms.BooleanField(
        required=False,
        label="With its memory",
        help_text="The guest can go on just here, with all that runs in it. It stands still while its memory is saved.",
    )
    quiesce = forms.BooleanField(
        required=False,
        label="Freeze file systems",
        help_text="The guest agent has everything written first, so that the disks are consistent. Needs the QEMU guest agent in the guest.",
    )

    def __init__(self, runs: bool, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        if not runs:
            del self.fields["memory"], self.fields["quiesce"]


class ReturnForm(forms.Form):
    """Preview and revert: what is possible of memory and power-off."""

    memory = forms.BooleanField(
        required=False,
        label="Restore its memory",
        help_text="The guest goes on where it was; else it is off, and boots from its old disks.",
    )
    poweroff = forms.BooleanField(required=False, label="Power it off first", help_text="It runs. What its guest has not written is lost.")

    def __init__(self, facts: can.Facts, snapshot: Snapshot | None, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        if snapshot is None or not snapshot.with_memory:
            del self.fields["memory"]
        elif not (fits := can.memory_fits(facts, snapshot)):
            self.fields["memory"].disabled = True
            self.fields["memory"].help_text = fits.reason
        if not can.runs(facts.vm):
            del self.fields["poweroff"]


class CopyForm(forms.Form):
    """A VM or a template out of a snapshot."""

    name = forms.CharField(max_length=255, widget=forms.TextInput(attrs=_NAME))
    description = forms.CharField(max_length=4000, required=False)
