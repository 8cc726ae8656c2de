"""The form of a SAML provider: its metadata pasted, or the three things in them that count."""

from typing import Any

from django import forms

from accounts.directory.models import IdentityProvider
from accounts.directory.saml import metadata

_KNOWN = ("entity_id", "sso_url", "certificates")
_ATTRIBUTES = ("id_attribute", "username_attribute", "name_attribute", "mail_attribute", "groups_attribute")


class SamlForm(forms.Form):
    name = forms.CharField(max_length=100, help_text="On the button, e.g. «Example Ltd.».")
    enabled = forms.BooleanField(required=False, label="Users may sign in by it")
    metadata = forms.CharField(
        max_length=metadata.MOST_BYTES,
        required=False,
        widget=forms.Textarea(attrs={"rows": 5, "spellcheck": "false"}),
        label="The provider's metadata",
        help_text="XML, as the provider shows it. It fills in the next three fields.",
    )
    entity_id = forms.CharField(max_length=1024, required=False, label="Entity ID of the provider")
    sso_url = forms.CharField(max_length=1000, required=False, label="Sign-in address", help_text="For the binding HTTP-Redirect.")
    certificates = forms.CharField(
        max_length=100_000,
        required=False,
        widget=forms.Textarea(attrs={"rows": 4, "spellcheck": "false"}),
        label="Certificate",
        help_text="That the provider signs with, in PEM. While it changes keys, both.",
    )
    username_attribute = forms.CharField(max_length=300, required=False, label="Attribute of the user name", help_text="Empty: the NameID.")
    id_attribute = forms.CharField(
        max_length=300,
        required=False,
        label="Attribute of the lasting name",
        help_text="By which a user is known again after being renamed. Empty: the NameID.",
    )
    name_attribute = forms.CharField(max_length=300, required=False, label="Attribute of the full name", help_text="Empty: displayName.")
    mail_attribute = forms.CharField(max_length=300, required=False, label="Attribute of the mail address", help_text="Empty: mail.")
    groups_attribute = forms.CharField(max_length=300, required=False, label="Attribute of the groups", help_text="Empty: groups.")

    def __init__(self, *args: Any, provider: IdentityProvider, **options: Any) -> None:
        options["initial"] = {**provider.settings, "name": provider.name, "enabled": provider.enabled}
        super().__init__(*args, **options)

    def clean(self) -> dict[str, Any]:
        data = super().clean() or {}
        data["secret"] = ""  # there is none: questions are not signed, answers not encrypted
        if data.get("metadata"):
            self._take("metadata", lambda: data.update(metadata.read(data["metadata"])))
            return data
        for name in _KNOWN:
            if not data.get(name) and name not in self.errors:
                self.add_error(name, "Paste the provider's metadata above, or fill this in.")
        if data.get("sso_url"):
            self._take("sso_url", lambda: data.update(sso_url=metadata.good_address(data["sso_url"].strip())))
        if data.get("certificates"):
            self._take("certificates", lambda: data.update(certificates=metadata.read_certificates(data["certificates"])))
        return data

    def _take(self, field: str, read: Any) -> None:
        try:
            read()
        except metadata.BadMetadata as error:
            self.add_error(field, str(error))

    def settings(self) -> dict[str, Any]:
        return {name: self.cleaned_data[name] for name in (*_KNOWN, *_ATTRIBUTES)}
