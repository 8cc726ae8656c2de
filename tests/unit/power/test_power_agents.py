"""Fence agents: what they ask for, what they are given, and what is shown of their answers."""

import shutil

import pytest
from django.core.exceptions import ValidationError
from hypothesis import given
from hypothesis import strategies as st

from hosts.power import agents, catalogue
from hosts.power.agents import Call

METADATA = b"""<?xml version="1.0" ?><resource-agent name="fence_x" shortdesc="X">
<parameters>
<parameter name="action" required="1"><content type="string" default="reboot"/></parameter>
<parameter name="ip" required="0" obsoletes="ipaddr"><content type="string"/><shortdesc lang="en">Address</shortdesc></parameter>
<parameter name="ipaddr" required="0" deprecated="1"><content type="string"/></parameter>
<parameter name="username" required="1"><content type="string"/></parameter>
<parameter name="password" required="0"><content type="string"/></parameter>
<parameter name="password_script" required="0"><content type="string"/></parameter>
<parameter name="ssh_options" required="0"><content type="string" default="-t"/></parameter>
<parameter name="gnutlscli_path" required="0"><content type="string" default="/usr/bin/gnutls-cli"/></parameter>
<parameter name="debug_file" required="0"><content type="string"/></parameter>
<parameter name="systems_uri" required="0"><content type="string"/></parameter>
<parameter name="ipport" required="0"><content type="integer" default="443"/></parameter>
<parameter name="ssl" required="0"><content type="boolean" default="1"/></parameter>
<parameter name="ssl_insecure" required="0"><content type="boolean"/></parameter>
<parameter name="auth" required="0"><content type="select"><option value="md5"/><option value="none"/></content></parameter>
</parameters><actions><action name="on"/><action name="off"/><action name="status"/></actions></resource-agent>"""
SAMPLE = catalogue.parse("fence_x", METADATA)


def test_what_an_agent_asks_for_is_read_from_its_metadata():
    kinds = {field.name: field.kind for field in SAMPLE.fields}
    assert kinds == {
        "ip": "text",
        "username": "text",
        "password": "secret",
        "systems_uri": "text",
        "ipport": "number",
        "ssl": "flag",
        "ssl_insecure": "flag",
        "auth": "choice",
    }
    assert SAMPLE.field("ip").required
    assert SAMPLE.field("auth").choices == ("md5", "none")


def test_options_that_run_programs_or_write_files_cannot_be_set():
    for name in ("password_script", "ssh_options", "gnutlscli_path", "debug_file", "action", "ipaddr"):
        with pytest.raises(ValidationError):
            catalogue.clean(SAMPLE, {"ip": "bmc", "username": "root", name: "x"})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("username", "root\naction=off"),
        ("password", "secret\naction=on"),
        ("password", "secret\raction=on"),
        ("username", "-oProxyCommand=reboot"),
        ("username", "x -oProxyCommand=reboot"),
        ("username", "x'y"),
        ("ip", "-oProxyCommand=reboot"),
        ("ip", "bmc/evil"),
        ("systems_uri", "@evil.example/redfish"),
        ("ipport", "99999"),
        ("ipport", "²"),
        ("auth", "rot13"),
        ("username", "x" * 256),
        ("ip", ""),
    ],
)
def test_hostile_values_are_refused(name, value):
    with pytest.raises(ValidationError) as refusal:
        catalogue.clean(SAMPLE, {"ip": "bmc", "username": "root", name: value})
    assert name in refusal.value.error_dict


@given(st.text(max_size=40), st.text(max_size=40))
def test_whatever_is_accepted_is_one_line_of_one_option(user, password):
    try:
        options, secrets = catalogue.clean(SAMPLE, {"ip": "bmc", "username": user, "password": password})
    except ValidationError:
        return
    lines = agents._lines(Call("fence_x", options, secrets), "status").decode().split("\n")
    assert [line.split("=", 1)[0] for line in lines] == [*options, *secrets, "action", ""]
    assert len("".join(lines).splitlines()) <= 1


def test_only_what_differs_from_the_defaults_is_kept_and_flags_are_named_only_when_they_say_something():
    options, secrets = catalogue.clean(
        SAMPLE, {"ip": "BMC.", "username": "root", "ipport": "443", "ssl": True, "ssl_insecure": False, "password": ""}
    )
    assert (options, secrets) == ({"ip": "bmc", "username": "root"}, {})
    options, _secrets = catalogue.clean(SAMPLE, {"ip": "::1", "username": "root", "ssl": "", "ssl_insecure": "on", "ipport": "0443"})
    assert options == {"ip": "::1", "username": "root", "ssl": "0", "ssl_insecure": "1"}


@pytest.mark.parametrize("xml", [b"", b"<resource-agent/>", METADATA.replace(b'"status"', b'"list"'), b"<x", b"Usage: fence_x"])
def test_what_is_no_metadata_of_a_power_agent_is_refused(xml):
    with pytest.raises(ValueError):
        catalogue.parse("fence_x", xml)


def test_entities_of_hostile_metadata_are_not_expanded():
    hostile = METADATA.replace(
        b'<resource-agent name="fence_x" shortdesc="X">',
        b'<!DOCTYPE r [<!ENTITY f SYSTEM "file:///etc/passwd">]><resource-agent name="fence_x" shortdesc="X">',
    ).replace(b">Address<", b">&f;<")
    assert "root" not in catalogue.parse("fence_x", hostile).field("ip").help


@pytest.mark.parametrize("name", ["fence_scsi", "fence_nothing", "../bin/sh", "/bin/sh", "fence_redfish/../fence_scsi", ""])
def test_names_that_are_no_installed_power_agent_are_refused(machines, name):
    with pytest.raises(ValidationError):
        catalogue.agent(name)


def test_agents_that_do_not_cut_power_are_not_offered(machines):
    assert catalogue.installed() == ["fence_apc", "fence_redfish"]


def test_an_agent_gets_its_options_by_its_input_alone_and_nothing_of_our_environment(machines, monkeypatch):
    monkeypatch.setenv("VIREO_SECRET_KEY", "x")
    answer = agents.run(Call("fence_redfish", {"ip": "bmc", "plug": "a"}, {"password": ' "q" '}), "status")
    assert (answer.ok, answer.state) == (True, "on")
    call = machines.calls()[0]
    assert call["given"] == {"ip": "bmc", "plug": "a", "password": '" "q" "', "action": "status"}
    assert call["argv"] == []
    assert not any(name.startswith("VIREO") for name in call["env"])


def test_state_is_what_the_exit_code_says(machines):
    call = Call("fence_redfish", {"ip": "bmc"}, {})
    assert agents.run(call, "off") == agents.Answer(True, "", "Success: Powered OFF")
    assert agents.run(call, "status").state == "off"
    machines.mood("broken")
    assert agents.run(call, "status") == agents.Answer(False, "", "cannot log in with password None")


def test_secrets_are_cut_from_what_an_agent_says(machines):
    machines.mood("broken")
    answer = agents.run(Call("fence_redfish", {"ip": "bmc"}, {"password": "hunter2 & co"}), "off")
    assert not answer.ok
    assert "hunter2" not in answer.words
    for said in ("https://u:hunter2%20%26%20co@bmc", "-P 'hunter2 & co'", "b'hunter2 & co'"):
        assert "hunter2" not in agents.scrub(said, {"password": "hunter2 & co"})


def test_an_agent_that_takes_too_long_is_ended(machines):
    machines.mood("hangs")
    answer = agents.run(Call("fence_redfish", {"ip": "bmc"}, {}), "status", seconds=0.5)
    assert answer == agents.Answer(False, "", "fence_redfish did not answer within 0.5 s.")


def test_a_name_in_the_database_that_is_no_agent_is_not_run(machines):
    assert not agents.run(Call("../../bin/sh", {}, {}), "off").ok
    assert machines.calls() == []


@pytest.mark.parametrize("name", ["fence_redfish", "fence_ipmilan", "fence_ilo5_ssh", "fence_apc_snmp"])
def test_debians_agents_describe_themselves(name):
    assert shutil.which(name, path="/usr/sbin"), "install Debian's fence-agents"
    found = catalogue.agent(name)
    assert found.field("ip").required
    assert not any(field.name.endswith(("_path", "_script", "_file", "_options")) for field in found.fields)
    assert {field.kind for field in found.fields} <= {"text", "secret", "flag", "number", "choice"}
