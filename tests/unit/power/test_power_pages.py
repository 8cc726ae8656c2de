"""The pages and the API of power management: what they show, what they never show, and whose objects they take."""

import json

import pytest
from django.urls import reverse

from hosts.models import Host, HostStatus
from hosts.power.models import HostPower
from hosts.power.services import POLICY
from jobs.models import Job
from tests.build import make_host, make_user, make_vm
from tests.unit.power.conftest import make_agent

pytestmark = pytest.mark.django_db
GIVEN = {"ip": "bmc1", "username": "root", "password": "hunter2", "ssl": "on", "power_timeout": "20"}


@pytest.fixture
def admin(client):
    user = make_user("root", role="SuperUser")
    client.force_login(user)
    return user


def url(name: str, *keys) -> str:
    return reverse(f"hosts:{name}", args=keys)


def test_agent_is_chosen_filled_in_and_shown_without_its_secret(client, admin, host):
    chooser = client.get(url("new-power-agent", host.pk)).content.decode()
    assert 'value="fence_redfish"' in chooser and "fence_scsi" not in chooser
    form_url = url("new-power-agent", host.pk) + "?agent=fence_redfish"
    form = client.get(form_url).content.decode()
    assert 'name="ip"' in form and 'type="password"' in form and "password_script" not in form
    assert client.post(form_url, GIVEN).status_code == 302
    row = host.power_agents.last()
    assert row.options == {"ip": "bmc1", "username": "root"} and row.secrets == {"password": "hunter2"}
    for page in (host.get_absolute_url() + "?tab=power", url("power-agent", host.pk, row.pk)):
        shown = client.get(page).content.decode()
        assert "bmc1" in shown and "hunter2" not in shown


def test_refusals_stand_at_their_field(client, admin, host):
    answer = client.post(url("new-power-agent", host.pk) + "?agent=fence_redfish", GIVEN | {"username": "-oProxyCommand=x"})
    assert answer.status_code == 422 and "Letters, digits" in answer.content.decode()
    assert client.get(url("new-power-agent", host.pk) + "?agent=../sh").status_code == 302


@pytest.mark.parametrize("mood", ["", "broken"])
def test_test_button_shows_the_answer_and_saves_nothing(client, admin, host, machines, mood):
    machines.mood(mood)
    answer = client.post(url("new-power-agent", host.pk) + "?agent=fence_redfish", GIVEN | {"test": "1"}, headers={"HX-Request": "true"})
    said = answer.json()
    assert said["kind"] == ("error" if mood else "success")
    assert "hunter2" not in said["message"]
    page = client.post(url("new-power-agent", host.pk) + "?agent=fence_redfish", GIVEN | {"test": "1"}).content.decode()
    assert "hunter2" not in page and ("does not work" if mood else "It works") in page
    assert host.power_agents.count() == 1


def test_agents_of_another_host_are_not_reached_through_ones_own(client, host):
    mine = make_host()
    client.force_login(make_user(role="HostAdmin", on=mine))
    row = host.power_agents.get()
    for method, path in (
        ("get", url("power-agent", mine.pk, row.pk)),
        ("post", url("change-power-agent", mine.pk, row.pk, "remove")),
        ("delete", f"/api/v1/hosts/{mine.pk}/power/agents/{row.pk}"),
        ("post", f"/api/v1/hosts/{mine.pk}/power/agents/{row.pk}/test"),
    ):
        assert getattr(client, method)(path).status_code == 404, path
    assert host.power_agents.count() == 1


def test_power_is_switched_by_button_and_by_api(client, admin, host):
    assert client.post(url("power-action", host.pk, "power_off"), headers={"HX-Request": "true"}).status_code == 202
    assert client.post(f"/api/v1/hosts/{host.pk}/power_on", {}, content_type="application/json").status_code == 409, "busy"
    Job.objects.all().delete()
    assert client.post(f"/api/v1/hosts/{host.pk}/power_on", {}, content_type="application/json").json()["kind"] == "host.power_on"
    assert client.post(url("power-action", host.pk, "explode")).status_code == 404


def test_confirmation_by_hand_warns_and_wants_the_name(client, admin, host):
    Host.objects.filter(pk=host.pk).update(status=HostStatus.NON_RESPONSIVE)
    make_vm(cluster=host.cluster, host=host, status="unknown")
    page = client.get(url("power-confirm", host.pk)).content.decode()
    assert "destroy" in page and "1 VM may still run there" in page
    assert client.post(url("power-confirm", host.pk), {"name": "other"}).status_code == 422
    assert client.post(f"/api/v1/hosts/{host.pk}/confirm_off", {"name": "other"}, content_type="application/json").status_code == 422
    assert client.post(url("power-confirm", host.pk), {"name": host.name}).status_code == 302
    assert Job.objects.get().kind == "host.confirm_off"


def test_silent_hosts_page_says_why_it_is_not_fenced(client, admin, host):
    Host.objects.filter(pk=host.pk).update(status=HostStatus.NON_RESPONSIVE)
    HostPower.objects.create(host=host, decision="guests", decision_reason="2 of its guests still answer.")
    page = client.get(host.get_absolute_url()).content.decode()
    assert "Not fenced. 2 of its guests still answer." in page


def test_fencing_policy_is_changed_by_page_and_by_api(client, admin, host):
    page = url("fencing-policy", host.cluster_id)
    assert client.get(page).status_code == 200
    values = {"fence_after_seconds": 30, "fence_kdump_seconds": 0, "fence_skip_percent": 60, "fence_restart": "on"}
    assert client.post(page, values).status_code == 302
    host.cluster.refresh_from_db()
    assert (host.cluster.fence_after_seconds, host.cluster.fencing_enabled, host.cluster.fence_restart) == (30, False, True)
    assert client.post(page, values | {"fence_skip_percent": 0}).status_code == 422
    answer = client.patch(f"/api/v1/clusters/{host.cluster_id}/fencing", {"fencing_enabled": True}, content_type="application/json")
    assert answer.json()["fencing_enabled"] and set(answer.json()) == set(POLICY)
    assert "fenced after 30 s" in client.get(host.cluster.get_absolute_url()).content.decode()


def test_settings_take_no_host_that_one_may_not_edit(client, host):
    helper = make_host(transport="ssh", test_uri="")
    client.force_login(make_user(role="HostAdmin", on=host))
    assert client.post(url("power-settings", host.pk), {"enabled": "on", "proxy": str(helper.pk)}).status_code == 422
    assert client.post(url("power-settings", host.pk), {}).status_code == 302
    assert not HostPower.objects.get(host=host).enabled


def test_api_adds_changes_tests_and_removes_agents(client, admin, host):
    base = f"/api/v1/hosts/{host.pk}/power"
    body = {"agent": "fence_redfish", "options": {"ip": "bmc1", "password": "hunter2", "ssl": False}}
    added = client.post(f"{base}/agents", body, content_type="application/json")
    assert added.status_code == 201 and added.json()["options"] == {"ip": "bmc1", "ssl": "0"}
    key = added.json()["id"]
    changed = client.patch(f"{base}/agents/{key}", {"options": {"ip": "bmc2"}}, content_type="application/json")
    assert changed.status_code == 422, "the secret is not taken to another device"
    assert client.post(f"{base}/agents/{key}/test").json() == {"ok": True, "state": "on", "words": "Status: ON"}
    shown = client.get(base)
    assert len(shown.json()["agents"]) == 2 and "hunter2" not in json.dumps(shown.json())
    assert client.delete(f"{base}/agents/{key}").status_code == 204
    assert client.patch(base, {"enabled": False}, content_type="application/json").json()["enabled"] is False


def test_reader_sees_the_tab_without_anything_to_change(client, host):
    make_agent(host, "second")
    client.force_login(make_user(role="ReadOnlyAdmin"))
    page = client.get(host.get_absolute_url() + "?tab=power").content.decode()
    assert "fence_redfish" in page
    assert "/power/" not in page.replace("?tab=power", "")
