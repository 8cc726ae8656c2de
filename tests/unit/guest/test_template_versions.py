"""Versions of templates: the newest is offered first, a rename keeps them together, and one that is in use stays."""

import pytest
from django.core.exceptions import PermissionDenied

from accounts.permissions import grant
from api.routes.vms import _template
from api.schemas import VmIn
from portal.errors import FieldError, NotPossible
from storage.models import DiskStatus
from tests.build import attach, make_cluster, make_data_center, make_disk, make_storage, make_template, make_user, make_vm
from vms import services, template_services
from vms.forms import NewVmForm
from vms.models import Template

pytestmark = pytest.mark.django_db


@pytest.fixture
def admin():
    return make_user("admin", role="SuperUser")


@pytest.fixture
def versions():
    place = make_data_center()
    return [make_template(name="debian", version=number, data_center=place) for number in (1, 2, 3)]


def wanted(user, name, **fields):
    return _template(user, VmIn(name="x", cluster="c", template=name, **fields))


def test_a_name_means_its_newest_version_that_is_ready(admin, versions):
    assert wanted(admin, "Debian") == versions[2]
    assert wanted(admin, "debian", template_version=1) == versions[0]
    assert wanted(admin, str(versions[1].pk)) == versions[1]
    versions[2].disks.update(status=DiskStatus.LOCKED)
    assert wanted(admin, "debian") == versions[1]
    with pytest.raises(NotPossible):
        wanted(admin, "debian", template_version=3)
    with pytest.raises(FieldError):
        wanted(admin, "debian", template_version=4)


def test_a_user_gets_the_newest_that_they_may_use(versions):
    user = make_user()
    grant("TemplateUser", versions[1], user=user)
    assert wanted(user, "debian") == versions[1]
    with pytest.raises(FieldError, match="may not use"):
        wanted(user, "debian", template_version=3)


def test_the_form_folds_older_versions(admin, versions):
    context = NewVmForm(admin)["template"].field.widget.get_context("template", None, {})["widget"]
    html = str(NewVmForm(admin)["template"])
    assert html.index("version 3") < html.index("Older versions") < html.index("version 2")
    assert not context.get("older_chosen")
    assert '<details class="v-more" open>' in str(NewVmForm(admin, initial={"template": versions[0].pk})["template"])


def test_a_rename_keeps_the_versions_together(admin, versions):
    template_services.edit(admin, versions[1], {"name": "bookworm", "memory_mib": 256})
    assert set(Template.objects.values_list("name", "version", "memory_mib")) == {
        ("bookworm", 1, 128),
        ("bookworm", 2, 256),
        ("bookworm", 3, 128),
    }
    other = make_template(name="other", data_center=versions[0].data_center)
    versions[1].refresh_from_db()
    with pytest.raises(FieldError, match="exists already"):
        template_services.edit(admin, versions[1], {"name": other.name})


def test_only_who_may_edit_all_versions_renames_them(versions):
    user = make_user()
    grant("TemplateAdmin", versions[0], user=user)
    template_services.edit(user, versions[0], {"description": "mine"})
    with pytest.raises(PermissionDenied):
        template_services.edit(user, versions[0], {"name": "mine"})
    with pytest.raises(PermissionDenied):
        template_services.edit(user, versions[1], {"description": "mine"})


@pytest.mark.parametrize(
    ("changes", "field"),
    [({"set_up_by": "ignition"}, "set_up_by"), ({"vcpus": 0}, "vcpus"), ({"memory_mib": 1}, "memory_mib"), ({"rev": 1}, "rev")],
)
def test_what_a_template_cannot_be_is_refused(admin, versions, changes, field):
    with pytest.raises(FieldError) as refused:
        template_services.edit(admin, versions[0], changes)
    assert refused.value.field == field


def test_a_template_in_use_stays_and_says_by_whom(admin):
    cluster = make_cluster()
    template = make_template(
        name="debian", data_center=cluster.data_center, disks=[make_disk(domain=make_storage(data_center=cluster.data_center))]
    )
    vm = make_vm(name="web-01", cluster=cluster, template=template)
    attach(vm, make_disk(domain=template.disks.get().domain, backing=template.disks.get()))
    with pytest.raises(NotPossible, match="debian is in use: thin copies of its disks belong to web-01"):
        services.remove_template(admin, template)


def test_pages_of_templates_show_versions_and_uses(admin, versions, client):
    make_vm(name="web-01", cluster=make_cluster(data_center=versions[0].data_center), template=versions[1])
    client.force_login(admin)
    page = client.get("/templates/").content.decode()
    assert page.count(">debian</a>") == 3 and "Build a Debian image" in page
    page = client.get(f"/templates/{versions[1].pk}/").content.decode()
    assert "1 VM</td>" in page and "latest" in page
    answer = client.post(
        f"/templates/{versions[1].pk}/edit/", {"name": "debian", "memory_mib": "1 GiB", "vcpus": "2", "set_up_by": "cloud-init"}
    )
    assert answer.status_code == 302
    versions[1].refresh_from_db()
    assert (versions[1].memory_mib, versions[1].set_up_by) == (1024, "cloud-init")
