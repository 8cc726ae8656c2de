"""Form fields that take sizes as people write them: "4G", "512 MiB", "2048"."""

import re
from typing import Any

from django import forms

from portal.templatetags.vireo import size

_SIZE = re.compile(r"\s*(\d+(?:[.,]\d+)?)\s*([kmgtp]?)(?:i?b)?\s*", re.IGNORECASE)
_POWERS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4, "p": 5}


class SizeField(forms.CharField):
    """Gives bytes, or with `mib` whole MiB; a bare number counts in `unit`."""

    def __init__(self, *, mib: bool = False, unit: str = "m", **options: Any) -> None:
        super().__init__(**options)
        self.mib, self.unit = mib, unit
        self.widget.attrs.setdefault("inputmode", "text")
        self.widget.attrs.setdefault("autocomplete", "off")
        self.widget.attrs.setdefault("data-unit", unit)

    def prepare_value(self, value: Any) -> Any:
        return size(value * 2**20 if self.mib else value) if isinstance(value, int) else value

    def clean(self, value: Any) -> Any:
        text = super().clean(value)
        if not text:
            return None
        found = _SIZE.fullmatch(text)
        if not found:
            raise forms.ValidationError("Write a size such as 512 MiB or 4G.")
        amount = float(found[1].replace(",", ".")) * 1024 ** _POWERS[found[2].lower() or self.unit]
        if amount >= 2**63:
            raise forms.ValidationError("This is more than any machine has.")
        return int(amount) >> 20 if self.mib else int(amount)


def add_errors(form: forms.Form, error: forms.ValidationError) -> None:
    """A service's refusal at the form's own field, or above the form when it has no such field."""
    if hasattr(error, "error_dict"):
        for field, errors in error.error_dict.items():
            form.add_error(field if field in form.fields else None, errors)
    else:
        form.add_error(None, error)
