"""Forms of second factors."""

from django import forms


class PasskeyForm(forms.Form):
    name = forms.CharField(max_length=100, label="Name", help_text="Where it is, e.g. «laptop» or «blue security key».")
    credential = forms.CharField(max_length=20000, widget=forms.HiddenInput, required=False)


class CodeForm(forms.Form):
    code = forms.CharField(
        max_length=40,
        widget=forms.TextInput(attrs={"autocomplete": "one-time-code", "inputmode": "text", "autofocus": True, "spellcheck": "false"}),
    )
