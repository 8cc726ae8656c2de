"""Asks with pip-audit whether an installed package has a known vulnerability. Exit status 1: one has.

Needs the internet. Where its service cannot be reached this says so, and is no failure: lint works on a machine without.
"""

import json
import subprocess
import sys
from pathlib import Path

# What stands in pip-audit's words, or in its last exception, when the network and not the answer was at fault.
UNREACHABLE = (
    "ConnectionError",
    "ConnectTimeout",
    "ReadTimeout",
    "timed out",
    "Max retries",
    "Could not connect",
    "Failed to resolve",
    "SSLError",
)


def audit(command: list[str]) -> tuple[int, str]:
    """The exit status, and what to say.

    Args:
        command: pip-audit, or what stands in for it in a test; it writes pip-audit's JSON.
    """
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        packages = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError):
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        if any(words in done.stderr for words in UNREACHABLE):
            return 0, f"pip-audit: NOT AUDITED: its service cannot be reached ({last[:200]})."
        return 1, f"pip-audit failed: {last[:200]}"
    return verdict(packages)


def verdict(packages: list[dict]) -> tuple[int, str]:
    """What pip-audit's list of packages means."""
    found = [(package, flaw) for package in packages for flaw in package.get("vulns", ())]
    unknown = [package["name"] for package in packages if "skip_reason" in package]
    lines = [
        f"pip-audit: {package['name']} {package['version']}: {flaw['id']}, mended in {', '.join(flaw['fix_versions']) or 'no version yet'}"
        for package, flaw in found
    ]
    if len(unknown) == len(packages):
        lines.append("pip-audit: NOT AUDITED: its service knows none of the packages; is this a mirror without its data?")
    elif unknown:
        lines.append(
            f"pip-audit: {len(packages) - len(unknown)} packages audited; {len(unknown)} unknown to the service: {', '.join(unknown[:10])}"
        )
    elif not found:
        lines.append(f"pip-audit: {len(packages)} packages, no known vulnerability.")
    return int(bool(found)), "\n".join(lines)


if __name__ == "__main__":
    pip_audit = str(Path(sys.executable).with_name("pip-audit"))
    status, text = audit([pip_audit, "--format", "json", "--progress-spinner", "off", "--timeout", "10"])
    print(text)
    sys.exit(status)
