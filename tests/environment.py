"""Loaded before Django (see `-p tests.environment` in pyproject.toml): the tests get a VAR directory of their own."""

import atexit
import os
import shutil
import tempfile

if "VIREO_TEST_VAR" not in os.environ:
    # Short, because a Unix socket's path holds 107 characters.
    directory = tempfile.mkdtemp(prefix="vireo-test-", dir="/tmp")
    os.environ["VIREO_TEST_VAR"] = directory
    owner = os.getpid()
    atexit.register(lambda: os.getpid() == owner and shutil.rmtree(directory, ignore_errors=True))

os.environ["VIREO_VAR"] = os.environ["VIREO_TEST_VAR"]
os.environ.pop("REDIS_URL", None)
