"""Pages of a host's power: its agents, their test, switching, and saying by hand that it is off; and a cluster's fencing policy."""

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_POST

from accounts.permissions import require
from hosts.models import Cluster, Host
from hosts.pages import find
from hosts.power import can, catalogue, services, state
from hosts.power.forms import AgentForm, ChooseAgentForm, ConfirmOffForm, FencingForm, PowerForm
from hosts.power.models import PowerAgent
from hosts.services import blockers
from portal.forms import add_errors
from portal.pages.actions import REFUSALS, answer, refuse
from portal.pages.forms import form_page


def tab_of(host: Host) -> str:
    return f"{host.get_absolute_url()}?tab=power"


def _agent_of(host: Host, pk: UUID) -> PowerAgent:
    row = PowerAgent.objects.select_related("host").filter(host=host, pk=pk).first()
    if row is None:
        raise Http404("There is no such fence agent.")
    return row


def new_agent(request: HttpRequest, pk: UUID) -> HttpResponse:
    """First the agent, then what it asks for."""
    host = find(request, pk)
    require(request.user, "host.edit", host)
    name = request.GET.get("agent", "")
    if not name:
        context = {"title": f"Add a fence agent to {host.name}", "host": host, "back": tab_of(host), "back_title": host.name}
        return render(
            request,
            "hosts/power/choose.html",
            {"form": ChooseAgentForm(catalogue.installed(), initial={"agent": "fence_redfish"}), **context},
        )
    return _agent_page(request, host, name, None)


def edit_agent(request: HttpRequest, pk: UUID, agent: UUID) -> HttpResponse:
    host = find(request, pk)
    require(request.user, "host.edit", host)
    row = _agent_of(host, agent)
    return _agent_page(request, host, row.agent, row)


def _agent_page(request: HttpRequest, host: Host, name: str, row: PowerAgent | None) -> HttpResponse:
    try:
        chosen = catalogue.agent(name)
    except ValidationError as error:
        return refuse(request, tab_of(host), error)
    form = AgentForm(chosen, row, request.POST if request.method == "POST" else None)
    context = {
        "title": f"{'Edit' if row else 'Add'} {name}",
        "text": chosen.title,
        "verb": "Save" if row else "Add agent",
        "back": tab_of(host),
        "back_title": host.name,
        "host": host,
    }
    if request.method == "POST" and "test" in request.POST:
        return _tested(request, host, form, row, context)

    def run(data: dict[str, Any]) -> HttpResponse:
        if row is None:
            services.add_agent(request.user, host, name, form.values(), data["with_previous"])
        else:
            services.edit_agent(request.user, row, form.values(), data["with_previous"])
        messages.success(request, f"{name} was {'changed' if row else 'added'}.")
        return redirect(tab_of(host))

    return form_page(request, form, run, "hosts/power/agent.html", **context)


def _tested(request: HttpRequest, host: Host, form: AgentForm, row: PowerAgent | None, context: dict[str, Any]) -> HttpResponse:
    """What the agent answered: beside the form for its script, which keeps what was typed; else on the form anew."""
    ok, words = False, ""
    if form.is_valid():
        try:
            said = services.test(request.user, host, form.agent.name, form.values(), row)
            ok = said.ok
            words = (
                f"It works: {host.name} is {said.state}. {said.words}"
                if ok
                else f"It does not work: {said.words or 'the agent said nothing.'}"
            )
        except ValidationError as error:
            add_errors(form, error)
        except REFUSALS as error:
            words = str(error)
    if not words:
        words = " ".join(f"{form[name].label if name in form.fields else ''}: {' '.join(errors)}" for name, errors in form.errors.items())
    if request.headers.get("HX-Request"):
        return JsonResponse({"message": words, "kind": "success" if ok else "error"})
    return render(
        request, "hosts/power/agent.html", {"form": form, "tested": words, "works": ok, **context}, status=422 if form.errors else 200
    )


@require_POST
def change_agent(request: HttpRequest, pk: UUID, agent: UUID, verb: str) -> HttpResponse:
    """remove, up or down."""
    host = find(request, pk)
    require(request.user, "host.edit", host)
    row = _agent_of(host, agent)
    if verb == "remove":
        services.remove_agent(request.user, row)
        return answer(request, tab_of(host), f"{row.agent} was removed.", status=200)
    if verb not in ("up", "down"):
        raise Http404("There is no such action.")
    services.move_agent(request.user, row, verb == "up")
    return answer(request, tab_of(host), f"{row.agent} runs {'earlier' if verb == 'up' else 'later'}.", status=200)


def settings(request: HttpRequest, pk: UUID) -> HttpResponse:
    host = find(request, pk)
    require(request.user, "host.edit", host)
    power = state.of(host)
    form = PowerForm(
        request.user, host, request.POST if request.method == "POST" else None, initial={"enabled": power.enabled, "proxy": power.proxy}
    )

    def run(data: dict[str, Any]) -> HttpResponse:
        services.configure(request.user, host, data["enabled"], data["proxy"])
        messages.success(request, "Power management was changed.")
        return redirect(tab_of(host))

    return form_page(request, form, run, title=f"Power management of {host.name}", verb="Save", back=tab_of(host), back_title=host.name)


@require_POST
def action(request: HttpRequest, pk: UUID, name: str) -> HttpResponse:
    host = find(request, pk)
    if name not in services.SWITCHES:
        raise Http404("There is no such action.")
    try:
        job = services.switch(request.user, host, name)
    except REFUSALS as error:
        return refuse(request, tab_of(host), error)
    return answer(request, tab_of(host), f"{job.title}: asked for.", job)


def confirm(request: HttpRequest, pk: UUID) -> HttpResponse:
    """What it means if the person is wrong, before the name is typed."""
    host = find(request, pk)
    require(request.user, can.ACTIONS["confirm_off"].permission, host)
    form = ConfirmOffForm(request.POST if request.method == "POST" else None)

    def run(data: dict[str, Any]) -> HttpResponse:
        job = services.confirm_off(request.user, host, data["name"])
        return answer(request, tab_of(host), f"{job.title}: its VMs are down now.", job)

    return form_page(
        request,
        form,
        run,
        "hosts/power/confirm.html",
        title=f"Was {host.name} rebooted?",
        verb="It was rebooted, nothing runs there",
        verb_class="v-button-danger",
        back=tab_of(host),
        back_title=host.name,
        host=host,
        running=len(blockers(host)),
    )


def fencing_policy(request: HttpRequest, pk: UUID) -> HttpResponse:
    cluster = Cluster.objects.visible_to(request.user).filter(pk=pk).first()
    if cluster is None:
        raise Http404("There is no such cluster.")
    require(request.user, "cluster.edit", cluster)
    form = FencingForm(
        request.POST if request.method == "POST" else None, initial={name: getattr(cluster, name) for name in FencingForm.base_fields}
    )

    def run(data: dict[str, Any]) -> HttpResponse:
        services.set_fencing_policy(request.user, cluster, data)
        messages.success(request, f"The fencing policy of {cluster.name} was changed.")
        return redirect(cluster)

    text = "Fencing switches a host off that does not answer, so that its VMs can safely run elsewhere."
    back = reverse("hosts:cluster", args=[pk])
    return form_page(request, form, run, title=f"Fencing in {cluster.name}", text=text, verb="Save", back=back, back_title=cluster.name)
