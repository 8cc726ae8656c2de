"""The options of a migration, as a policy sets them and as who moves one VM does."""

from django import forms

from hosts.migration_policies.models import FASTEST_MIB, LATEST_POST_COPY_S, LONGEST_DOWNTIME_MS
from hypervisor.migration import MigrationOptions


class MigrationOptionsForm(forms.Form):
    bandwidth_mib = forms.IntegerField(
        label="At most, in MiB a second", min_value=0, max_value=FASTEST_MIB, initial=0, help_text="0: as fast as the network is."
    )
    downtime_ms = forms.IntegerField(
        label="Stands still at the end, at most, in milliseconds",
        min_value=0,
        max_value=LONGEST_DOWNTIME_MS,
        initial=0,
        help_text="0: QEMU's own, 300.",
    )
    auto_converge = forms.BooleanField(
        label="Slow the guest down when it writes faster than the network carries", required=False, initial=True
    )
    compress = forms.BooleanField(label="Compress: fewer bytes for more CPU", required=False)
    post_copy = forms.BooleanField(
        label="Finish at the target when nothing else helps",
        required=False,
        help_text="Post-copy: it always ends, but a network that fails in that phase loses the guest's memory.",
    )
    post_copy_after_s = forms.IntegerField(
        label="That is after, in seconds", min_value=1, max_value=LATEST_POST_COPY_S, initial=60, required=False
    )

    def clean_post_copy_after_s(self) -> int:
        """Left empty, it is as QEMU has long enough for most guests."""
        return self.cleaned_data["post_copy_after_s"] or MigrationOptions.post_copy_after_s

    @property
    def options(self) -> MigrationOptions:
        return MigrationOptions(**{name: self.cleaned_data[name] for name in MigrationOptionsForm.base_fields})
