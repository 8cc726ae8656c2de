"""What the API takes and gives about users, groups, roles and grants."""

from datetime import datetime
from typing import Literal
from uuid import UUID

from ninja import Field, Schema
from pydantic import AwareDatetime

from accounts.models import ObjectType, Quota
from accounts.quotas.models import LARGEST_AMOUNT, MOST_GRACE, Resource
from accounts.quotas.shares import shares_of
from api.schemas import Input, Ref

# What has a page of permissions of its own: everything that a grant can sit on but the system.
Grantable = Literal[tuple(kind for kind in ObjectType.values if kind != ObjectType.SYSTEM)]  # type: ignore[valid-type]


class UserOut(Schema):
    id: UUID
    username: str
    full_name: str
    email: str
    is_active: bool
    is_service: bool


class Named(Schema):
    id: UUID
    username: str


class GroupOut(Schema):
    id: UUID
    name: str
    members: list[Named]


class RoleOut(Schema):
    id: UUID
    name: str
    description: str
    predefined: bool
    permissions: list[str]

    @staticmethod
    def resolve_permissions(role: object) -> list[str]:
        return sorted(each.permission for each in role.permissions.all())  # type: ignore[attr-defined]


class RoleIn(Input):
    name: str = Field(min_length=1, max_length=150)
    description: str = Field("", max_length=1000)
    permissions: list[str] = Field(max_length=200)


class RolePatch(Input):
    name: str | None = Field(None, min_length=1, max_length=150)
    description: str | None = Field(None, max_length=1000)
    permissions: list[str] | None = Field(None, max_length=200)


class GrantOut(Schema):
    id: UUID
    user: Named | None
    group: Ref | None
    role: Ref
    object_type: str
    object_id: UUID | None
    expires_at: datetime | None
    created_at: datetime


class GrantIn(Input):
    role: str
    user: str = ""
    group: str = ""
    object_type: Literal[tuple(ObjectType.values)]  # type: ignore[valid-type]
    object_id: UUID | None = None
    expires_at: AwareDatetime | None = Field(None, description="with its offset from UTC; from then on it gives nothing")


class QuotaLimitOut(Schema):
    resource: str
    cluster: Ref | None
    storage_domain: Ref | None
    amount: int = Field(description="VMs, vCPUs, MiB of memory or bytes of storage")
    used: int


class QuotaOut(Schema):
    id: UUID
    name: str
    description: str
    data_center: Ref
    mode: str
    limits: list[QuotaLimitOut]

    @staticmethod
    def resolve_mode(quota: Quota) -> str:
        return quota.data_center.quota_mode

    @staticmethod
    def resolve_limits(quota: Quota) -> list[dict[str, object]]:
        shares = ((share.limit, share.used) for share in shares_of(quota))
        return [
            {"resource": row.resource, "cluster": row.cluster, "storage_domain": row.storage_domain, "amount": row.amount, "used": used}
            for row, used in shares
        ]


class LimitIn(Input):
    resource: Literal[tuple(Resource.values)]  # type: ignore[valid-type]
    amount: int = Field(ge=0, le=LARGEST_AMOUNT, description="VMs, vCPUs, MiB of memory or bytes of storage")
    cluster: str | None = Field(None, description="name or id; with none the whole data center")
    storage_domain: str | None = Field(None, description="name or id; with none the whole data center")


class _Percents(Input):
    compute_threshold: int | None = Field(None, ge=0, le=100, description="percent of a limit from which it warns")
    compute_grace: int | None = Field(None, ge=0, le=MOST_GRACE, description="percent above a limit that is still let through")
    storage_threshold: int | None = Field(None, ge=0, le=100)
    storage_grace: int | None = Field(None, ge=0, le=MOST_GRACE)


class QuotaIn(_Percents):
    name: str = Field(min_length=1, max_length=255)
    description: str = Field("", max_length=4000)
    data_center: str = Field(description="name or id")
    limits: list[LimitIn] = Field([], max_length=1000)


class QuotaPatch(_Percents):
    name: str | None = Field(None, min_length=1, max_length=255)
    description: str | None = Field(None, max_length=4000)
    limits: list[LimitIn] | None = Field(None, max_length=1000)


class HolderIn(Input):
    user: str = ""
    group: str = ""


class HolderOut(Schema):
    id: UUID
    user: Named | None
    group: Ref | None


class PermissionOut(Schema):
    permission: str
    because: list[GrantOut]
