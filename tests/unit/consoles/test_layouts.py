"""Keyboard layouts of "type this text", by running the page's own module."""

import json
import string
import subprocess
from pathlib import Path
from typing import Any

import pytest

MODULE = Path(__file__).resolve().parents[3] / "frontend/src/console/layouts.js"
PRINTABLE = string.ascii_letters + string.digits + string.punctuation + " \n\t"


def _strokes(text: str, layout: str) -> dict[str, Any]:
    script = f"import({json.dumps(MODULE.as_uri())}).then((m) => console.log(JSON.stringify(m.strokesFor({json.dumps(text)}, {json.dumps(layout)}))))"
    return json.loads(subprocess.run(["node", "-e", script], check=True, capture_output=True, text=True).stdout)


def _keys(text: str, layout: str) -> list[str]:
    return [("⇧" if s["shift"] else "") + ("⌥" if s["altGr"] else "") + s["code"] for s in _strokes(text, layout)["strokes"]]


@pytest.mark.parametrize("layout", ["us", "gb", "de", "fr", "es"])
def test_every_layout_types_all_of_ascii(layout: str) -> None:
    assert _strokes(PRINTABLE, layout)["missing"] == []


@pytest.mark.parametrize(
    ("layout", "text", "keys"),
    [
        ("us", "zA@", ["KeyZ", "⇧KeyA", "⇧Digit2"]),
        ("de", "z@~", ["KeyY", "⌥KeyQ", "⌥BracketRight"]),
        ("de", "ä^é", ["Quote", "Backquote", "Space", "Equal", "KeyE"]),
        ("fr", "aq1^", ["KeyQ", "KeyA", "⇧Digit1", "⌥Digit9"]),
        ("fr", "ê", ["BracketLeft", "KeyE"]),
        ("gb", '"@#£', ["⇧Digit2", "⇧Quote", "Backslash", "⇧Digit3"]),
        ("es", "[]{}ñá", ["⌥BracketLeft", "⌥BracketRight", "⌥Quote", "⌥Backslash", "Semicolon", "Quote", "KeyA"]),
    ],
)
def test_characters_come_from_the_keys_that_bear_them(layout: str, text: str, keys: list[str]) -> None:
    assert _keys(text, layout) == keys


def test_what_a_keyboard_does_not_have_is_named() -> None:
    assert _strokes("a漢", "us")["missing"] == ["漢"]
