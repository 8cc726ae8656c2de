"""Every icon that a page asks for is in the bundle: one that is not leaves a hole."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
IN_TEMPLATES = re.compile(r'{% icon "([a-z0-9-]+)"')
IN_CODE = re.compile(r'(?:Action|Empty)\(\s*"[^"]*",(?: "[^"]+",)?\s*"([a-z0-9-]+)"|"icon": "([a-z0-9-]+)"')


def test_every_icon_is_bundled():
    bundled = set((ROOT / "frontend/icons.txt").read_text().split())
    asked = {name for file in (ROOT / "templates").rglob("*.html") for name in IN_TEMPLATES.findall(file.read_text())}
    apps = [path for path in ROOT.iterdir() if (path / "__init__.py").exists() and path.name != "tests"]
    for app in apps:
        for file in app.rglob("*.py"):
            asked |= {name for found in IN_CODE.findall(file.read_text()) for name in found if name}
    assert len(asked) > 60
    assert asked <= bundled, asked - bundled
