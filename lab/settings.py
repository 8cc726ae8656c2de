"""The lab of this installation, from the environment."""

import os
from pathlib import Path

from hosts.pki import CertificateAuthority
from lab.cluster import Lab


def default_lab(var: Path, hosts: int = 2) -> Lab:
    """`VIREO_LAB_NAME` and `VIREO_LAB_SUBNET` set it apart from others on the machine."""
    name = os.environ.get("VIREO_LAB_NAME", "vireo")
    subnet = os.environ.get("VIREO_LAB_SUBNET", "10.78.0.0/24")
    return Lab(name, subnet, var / "lab" / name, CertificateAuthority(var / "pki"), hosts)
