"""Writes the access table as the product is: `VIREO_WRITE_ACCESS=1 pytest tests/unit/test_access_table.py` on a test database."""

import os
import subprocess
import sys

sys.exit(subprocess.run([sys.executable, "-m", "pytest", "-q", "tests/unit/test_access_table.py"], env=os.environ | {"VIREO_WRITE_ACCESS": "1"}).returncode)
