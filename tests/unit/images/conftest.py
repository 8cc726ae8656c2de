import pytest

from accounts import tokens
from storage.images import spool
from tests.build import make_storage, make_user
from tests.unit.images.client import Caller


@pytest.fixture(autouse=True)
def empty_spool(settings, tmp_path):
    settings.UPLOAD_DIR = tmp_path / "uploads"
    settings.UPLOAD_DIR.mkdir()
    return settings.UPLOAD_DIR


@pytest.fixture
def domain():
    return make_storage()


@pytest.fixture
def alice(domain):
    return make_user("alice", role="DiskCreator", on=domain)


@pytest.fixture
def mallory(domain):
    return make_user("mallory", role="DiskCreator", on=domain)


def caller_of(user):
    return Caller(tokens.create(user, "t")[1])


@pytest.fixture
def call(alice):
    return caller_of(alice)


__all__ = ["caller_of", "spool"]
