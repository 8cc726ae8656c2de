"""Forms of the sign-in providers."""

import ssl
from typing import Any
from urllib.parse import urlsplit

from django import forms

from accounts.directory.ldap import normal_dn
from accounts.directory.models import IdentityProvider
from accounts.directory.oidc import is_good_url
from accounts.models import Group


class SecretInput(forms.PasswordInput):
    """Never shows what is stored."""

    def __init__(self) -> None:
        super().__init__(attrs={"autocomplete": "new-password"}, render_value=False)


class DnField(forms.CharField):
    def clean(self, value: Any) -> str:
        text = super().clean(value).strip()
        if text:
            try:
                normal_dn(text)
            except ValueError:
                raise forms.ValidationError("This is no distinguished name. One looks like ou=people,dc=example,dc=org.") from None
        return text


class LdapForm(forms.Form):
    SCHEMA_NAMES = [("ldap", "OpenLDAP, 389 Directory Server and others"), ("ad", "Active Directory, Samba")]

    name = forms.CharField(max_length=100, help_text="As users know it, e.g. «Example Ltd.».")
    enabled = forms.BooleanField(required=False, label="Users may sign in by it")
    schema = forms.ChoiceField(choices=SCHEMA_NAMES, label="Kind of server")
    urls = forms.CharField(
        label="Servers",
        widget=forms.Textarea(attrs={"rows": 2}),
        help_text="One per line, tried in this order: ldaps://host is encrypted from the start, ldap://host by StartTLS.",
    )
    ca = forms.CharField(
        label="Certificate authority",
        required=False,
        widget=forms.Textarea(attrs={"rows": 3}),
        help_text="PEM of who signed the servers' certificates; empty: those that this system trusts.",
    )
    bind_dn = DnField(max_length=500, required=False, label="Account to search with", help_text="Its distinguished name; empty: anonymous.")
    secret = forms.CharField(max_length=1024, required=False, strip=False, label="Its password", widget=SecretInput)
    base_dn = DnField(max_length=500, label="Search users below", help_text="E.g. ou=people,dc=example,dc=org.")
    user_filter = forms.CharField(
        max_length=500,
        required=False,
        help_text="{username} stands for what the user typed. Empty: (uid={username}), or (sAMAccountName={username}) for Active Directory.",
    )
    group_base_dn = DnField(max_length=500, required=False, label="Search groups below", help_text="Empty: where users are searched.")

    def __init__(self, *args: Any, provider: IdentityProvider, **options: Any) -> None:
        stored = provider.settings
        options["initial"] = {**stored, "urls": "\n".join(stored.get("urls", ())), "name": provider.name, "enabled": provider.enabled}
        super().__init__(*args, **options)
        self.has_secret = bool(provider.encrypted_secret)
        if self.has_secret:
            self.fields["secret"].help_text = "Stored. Empty keeps it."

    def clean_urls(self) -> list[str]:
        urls = self.cleaned_data["urls"].split()
        for url in urls:
            try:
                parts = urlsplit(url)
                good = parts.scheme in ("ldap", "ldaps") and parts.hostname and parts.path in ("", "/") and not parts.username
                good = good and (parts.port is None or parts.port > 0)
            except ValueError:
                good = False
            if not good:
                raise forms.ValidationError(f"«{url}» is no server's address. One looks like ldaps://ldap.example.org.")
        return urls

    def clean_ca(self) -> str:
        pem = self.cleaned_data["ca"].strip()
        if pem:
            try:
                ssl.create_default_context(cadata=pem)
            except (ssl.SSLError, ValueError):
                raise forms.ValidationError("This is no certificate in PEM.") from None
        return pem

    def clean_user_filter(self) -> str:
        text = self.cleaned_data["user_filter"].strip()
        if text and ("{username}" not in text or not text.startswith("(") or text.count("(") != text.count(")")):
            raise forms.ValidationError("A filter stands in brackets and holds {username}.")
        return text

    def clean(self) -> dict[str, Any]:
        data = super().clean() or {}
        if data.get("bind_dn") and not data.get("secret") and not self.has_secret:
            self.add_error("secret", "An account needs its password.")
        return data

    def settings(self) -> dict[str, Any]:
        names = ("schema", "urls", "ca", "bind_dn", "base_dn", "user_filter", "group_base_dn")
        return {name: self.cleaned_data[name] for name in names}


class OidcForm(forms.Form):
    name = forms.CharField(max_length=100, help_text="On the button, e.g. «Example Ltd.».")
    enabled = forms.BooleanField(required=False, label="Users may sign in by it")
    issuer = forms.CharField(max_length=500, help_text="The provider's address, e.g. https://login.example.org/realms/staff.")
    client_id = forms.CharField(max_length=300, label="Client ID")
    secret = forms.CharField(max_length=1024, required=False, strip=False, label="Client secret", widget=SecretInput)
    scopes = forms.CharField(
        max_length=300, required=False, label="More scopes", help_text="Beside openid, profile and email; often «groups»."
    )
    username_claim = forms.CharField(max_length=100, required=False, help_text="Empty: preferred_username.")
    groups_claim = forms.CharField(max_length=100, required=False, help_text="Empty: groups.")

    def __init__(self, *args: Any, provider: IdentityProvider, **options: Any) -> None:
        options["initial"] = {**provider.settings, "name": provider.name, "enabled": provider.enabled}
        super().__init__(*args, **options)
        if provider.encrypted_secret:
            self.fields["secret"].help_text = "Stored. Empty keeps it."

    def clean_issuer(self) -> str:
        issuer = self.cleaned_data["issuer"].strip().rstrip("/")
        if not is_good_url(issuer):
            raise forms.ValidationError("A provider's address begins with https://.")
        return issuer

    def settings(self) -> dict[str, Any]:
        names = ("issuer", "client_id", "scopes", "username_claim", "groups_claim")
        return {name: self.cleaned_data[name] for name in names}


class MappingForm(forms.Form):
    directory_group = forms.CharField(max_length=500, label="Group of the directory")
    group = forms.ModelChoiceField(Group.objects.all(), label="leads to")


class TrialForm(forms.Form):
    username = forms.CharField(max_length=150, label="User name", widget=forms.TextInput(attrs={"autocomplete": "off"}))
    password = forms.CharField(
        max_length=1024,
        required=False,
        strip=False,
        widget=SecretInput,
        help_text="Without it the user is only looked up.",
    )
