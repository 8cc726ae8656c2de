"""A host of libvirt's test driver, for tests that need a libvirt that answers and no guest."""

from pathlib import Path
from typing import Any

from hosts.models import Host
from tests.build import make_host

NODE = """<node><cpu><mhz>2000</mhz><model>lab</model><active>4</active><nodes>1</nodes><sockets>1</sockets><cores>4</cores>
<threads>1</threads></cpu><memory>4194304</memory></node>"""


def driver_host(directory: Path, **fields: Any) -> Host:
    """Its pools and domains live as long as the connection: forget it at the test's end."""
    (directory / "host.xml").write_text(NODE)
    return make_host(test_uri=f"test://{directory}/host.xml", **fields)
