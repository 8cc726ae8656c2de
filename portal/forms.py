"""What forms are made of: sizes as people write them ("4G", "512 MiB", "2048"), and choices as cards."""

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


class Cards(forms.RadioSelect):
    """One card per choice; `subject` is the chosen row, for the template to say more about it."""

    option_template_name = "django/forms/widgets/radio_option.html"

    def create_option(
        self, name: str, value: Any, label: Any, selected: Any, index: int, subindex: int | None = None, attrs: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        option = super().create_option(name, value, label, selected, index, subindex, attrs)
        option["subject"] = getattr(value, "instance", None)
        option["attrs"] |= {"data-label": self.summary_of(option["subject"])} | self.cost_of(option["subject"])
        return option

    def cost_of(self, subject: Any) -> dict[str, str]:
        """What choosing it takes of a quota, as attributes of its card: see vms.costs."""
        return {}

    def summary_of(self, subject: Any) -> str:
        return str(subject) if subject is not None else ""


def add_errors(form: forms.Form, error: forms.ValidationError) -> None:
    """A service's refusal at the form's own field, or above the form when it has no such field."""
    if hasattr(error, "error_dict"):
        for field, errors in error.error_dict.items():
            form.add_error(field if field in form.fields else None, errors)
    else:
        form.add_error(None, error)
