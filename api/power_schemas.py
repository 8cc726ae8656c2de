"""What the API says and takes about power management."""

from datetime import datetime
from uuid import UUID

from ninja import Schema
from pydantic import Field

from api.schemas import Input, Ref


class AgentOut(Schema):
    id: UUID
    agent: str
    options: dict[str, str] = Field(description="without the secret ones, which are never given out again")
    with_previous: bool = Field(description="runs at the same time as the one before it")


class PowerOut(Schema):
    state: str = Field(description="on, off or unknown, as last asked for")
    state_at: datetime | None
    state_reason: str
    enabled: bool = Field(description="Vireo may fence the host when it does not answer")
    proxy: Ref | None = Field(description="the host that runs its agents instead of Vireo's machine")
    decision: str = Field(description="what was decided about a host that does not answer; empty when nothing had to be")
    decision_reason: str
    decided_at: datetime | None
    failures: int
    retry_at: datetime | None
    agents: list[AgentOut]


class PowerPatch(Input):
    enabled: bool | None = None
    proxy: str | None = Field(None, description="name or id of a host reached by SSH; empty: none")


class AgentIn(Input):
    agent: str = Field(description="fence_redfish, say: one of those installed")
    options: dict[str, str | int | bool] = Field(default_factory=dict, description="the agent's own, secret ones too")
    with_previous: bool = False


class AgentPatch(Input):
    options: dict[str, str | int | bool] = Field(description="all of them; a secret that is left out stays as it is")
    with_previous: bool | None = None


class AnswerOut(Schema):
    ok: bool
    state: str
    words: str


class FencingOut(Schema):
    fencing_enabled: bool
    fence_after_seconds: int
    fence_skip_percent: int
    fence_skip_if_guests_answer: bool
    fence_skip_if_storage_written: bool
    fence_kdump_seconds: int
    fence_restart: bool


class FencingPatch(Input):
    fencing_enabled: bool | None = None
    fence_after_seconds: int | None = Field(None, ge=5, le=3600)
    fence_skip_percent: int | None = Field(None, ge=1, le=100)
    fence_skip_if_guests_answer: bool | None = None
    fence_skip_if_storage_written: bool | None = None
    fence_kdump_seconds: int | None = Field(None, ge=0, le=3600)
    fence_restart: bool | None = None
