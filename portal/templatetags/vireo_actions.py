"""Buttons and menus of actions, drawn from verdicts: an impossible one is disabled, with the reason where it is read."""

from typing import Any

from django import template

register = template.Library()


@register.inclusion_tag("parts/actions.html", takes_context=True)
def actions(
    context: dict[str, Any], entries: list[Any], primary: int = 2, small: bool = False, name: str = "", menu_url: str = ""
) -> dict[str, Any]:
    """The first possible `primary` entries as buttons, the rest in a menu in their order.

    Args:
        entries: portal.pages.actions.Entry, in menu order.
        name: whose actions they are, for the names of icon-only buttons.
        menu_url: in a list, where the rest of the menu comes from when it is opened; drawing it for each row would cost most of the page.
    """
    quick = [entry for entry in entries if entry.quick and entry.verdict.ok][:primary]
    rest = [entry for entry in entries if entry not in quick]
    for index, entry in enumerate(rest):
        entry.first_of_group = index > 0 and rest[index - 1].group != entry.group
    return {"quick": quick, "rest": rest, "small": small, "name": name, "menu_url": menu_url, "csrf_token": context.get("csrf_token")}
