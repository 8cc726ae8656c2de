"""A host's power and its fence agents, and a cluster's fencing policy. Switching is an action of the host: api.routes.inventory."""

from typing import Any
from uuid import UUID

from django.http import Http404, HttpRequest
from ninja import Router

from accounts.permissions import require
from api.lookup import named, visible
from api.power_schemas import AgentIn, AgentOut, AgentPatch, AnswerOut, FencingOut, FencingPatch, PowerOut, PowerPatch
from api.schemas import Problem
from hosts.models import Cluster, Host
from hosts.power import services, state
from hosts.power.models import PowerAgent

router = Router()
_REFUSALS = {403: Problem, 404: Problem, 422: Problem}


def _shown(host: Host) -> Any:
    power = state.of(host)
    power.agents = list(host.power_agents.all())  # type: ignore[attr-defined]
    return power


def _agent(request: HttpRequest, pk: UUID, agent: UUID) -> PowerAgent:
    host = visible(Host, request.user, pk, "cluster")
    require(request.user, "host.edit", host)
    found = PowerAgent.objects.select_related("host").filter(host=host, pk=agent).first()
    if found is None:
        raise Http404("There is no such fence agent.")
    return found


@router.get("/hosts/{uuid:pk}/power", response={200: PowerOut, 404: Problem}, tags=["Hosts"], summary="Get a host's power")
def get_power(request: HttpRequest, pk: UUID) -> Any:
    """As last asked for: the action power_status asks anew."""
    return _shown(visible(Host, request.user, pk, "cluster"))


@router.patch("/hosts/{uuid:pk}/power", response={200: PowerOut, **_REFUSALS}, tags=["Hosts"], summary="Change power management")
def change_power(request: HttpRequest, pk: UUID, body: PowerPatch) -> Any:
    host = visible(Host, request.user, pk, "cluster")
    power = state.of(host)
    proxy = power.proxy if body.proxy is None else named(Host, request.user, "proxy", body.proxy, "host.edit") if body.proxy else None
    services.configure(request.user, host, power.enabled if body.enabled is None else body.enabled, proxy)
    return _shown(host)


@router.post("/hosts/{uuid:pk}/power/agents", response={201: AgentOut, **_REFUSALS}, tags=["Hosts"], summary="Add a fence agent")
def add_agent(request: HttpRequest, pk: UUID, body: AgentIn) -> Any:
    host = visible(Host, request.user, pk, "cluster")
    require(request.user, "host.edit", host)
    return 201, services.add_agent(request.user, host, body.agent, body.options, body.with_previous)


@router.patch(
    "/hosts/{uuid:pk}/power/agents/{uuid:agent}", response={200: AgentOut, **_REFUSALS}, tags=["Hosts"], summary="Change a fence agent"
)
def change_agent(request: HttpRequest, pk: UUID, agent: UUID, body: AgentPatch) -> Any:
    """Secrets have to be given again when the agent is to reach another device."""
    return services.edit_agent(request.user, _agent(request, pk, agent), body.options, body.with_previous)


@router.delete(
    "/hosts/{uuid:pk}/power/agents/{uuid:agent}", response={204: None, **_REFUSALS}, tags=["Hosts"], summary="Remove a fence agent"
)
def remove_agent(request: HttpRequest, pk: UUID, agent: UUID) -> Any:
    services.remove_agent(request.user, _agent(request, pk, agent))
    return 204, None


@router.post(
    "/hosts/{uuid:pk}/power/agents/{uuid:agent}/test",
    response={200: AnswerOut, **_REFUSALS},
    tags=["Hosts"],
    summary="Ask a fence agent for the state",
)
def test_agent(request: HttpRequest, pk: UUID, agent: UUID) -> Any:
    row = _agent(request, pk, agent)
    return services.test(request.user, row.host, row.agent, row.options, row)


@router.get("/clusters/{uuid:pk}/fencing", response={200: FencingOut, 404: Problem}, tags=["Inventory"], summary="Get the fencing policy")
def get_fencing(request: HttpRequest, pk: UUID) -> Any:
    return visible(Cluster, request.user, pk)


@router.patch(
    "/clusters/{uuid:pk}/fencing", response={200: FencingOut, **_REFUSALS}, tags=["Inventory"], summary="Change the fencing policy"
)
def change_fencing(request: HttpRequest, pk: UUID, body: FencingPatch) -> Any:
    cluster = visible(Cluster, request.user, pk)
    return services.set_fencing_policy(request.user, cluster, body.model_dump(exclude_none=True))
