"""Users, groups, roles, grants and API tokens."""

import uuid

from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.db import models
from django.db.models.functions import Lower
from django.utils import timezone


class UserManager(BaseUserManager["User"]):
    def get_by_natural_key(self, username: str | None) -> "User":
        return self.get(username__iexact=username)

    def create_user(self, username: str, password: str | None = None, **fields: object) -> "User":
        user = self.model(username=username, **fields)
        user.set_password(password)
        user.save(using=self._db)
        return user


class User(AbstractBaseUser):
    """A person or program that signs in. What they may do comes from grants alone."""

    OBJECT_TYPE = "user"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    username = models.CharField(max_length=150)
    full_name = models.CharField(max_length=255, blank=True, default="")
    email = models.EmailField(blank=True, default="")
    is_active = models.BooleanField(default=True)
    # The directory that keeps this user's password, and its lasting name for them; without one, Vireo does.
    source = models.ForeignKey("accounts.IdentityProvider", null=True, blank=True, on_delete=models.PROTECT, related_name="users")
    external_id = models.CharField(max_length=500, blank=True, default="", editable=False)
    # Chosen columns, theme, density, keyboard layout of the console: what the pages remember for this user.
    preferences = models.JSONField(default=dict, blank=True)
    # A program: signs in by tokens alone.
    is_service = models.BooleanField(default=False)
    created_at = models.DateTimeField(auto_now_add=True)

    USERNAME_FIELD = "username"
    REQUIRED_FIELDS: list[str] = []
    objects = UserManager()
    # What an API token narrows its bearer to, for this request; None: nothing is taken away. See accounts.tokens.
    scope: frozenset[str] | None = None
    token_name = ""  # by which token they came, for this request

    class Meta:
        ordering = ["username"]
        constraints = [
            models.UniqueConstraint(Lower("username"), name="user_name_unique"),
            models.UniqueConstraint(fields=["source", "external_id"], name="user_of_source_once"),
        ]

    def __str__(self) -> str:
        return self.username

    @property
    def display_name(self) -> str:
        return self.full_name or self.username


class Group(models.Model):
    """Users who receive grants together."""

    OBJECT_TYPE = "group"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    name = models.CharField(max_length=150)
    description = models.TextField(blank=True, default="")
    require_second_factor = models.BooleanField(default=False)
    members = models.ManyToManyField(User, related_name="member_of", blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["name"]
        constraints = [models.UniqueConstraint(Lower("name"), name="group_name_unique")]

    def __str__(self) -> str:
        return self.name


class Role(models.Model):
    """A named set of permissions such as `vm.start`; the predefined ones cannot be changed."""

    OBJECT_TYPE = "role"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    name = models.CharField(max_length=150)
    description = models.TextField(blank=True, default="")
    predefined = models.BooleanField(default=False, editable=False)

    class Meta:
        ordering = ["name"]
        constraints = [models.UniqueConstraint(Lower("name"), name="role_name_unique")]

    def __str__(self) -> str:
        return self.name


class RolePermission(models.Model):
    """One permission of a role; a row each, so that one query answers "what may this user see"."""

    role = models.ForeignKey(Role, on_delete=models.CASCADE, related_name="permissions")
    permission = models.CharField(max_length=64)

    class Meta:
        ordering = ["permission"]
        constraints = [models.UniqueConstraint(fields=["role", "permission"], name="role_permission_once")]

    def __str__(self) -> str:
        return self.permission


class ObjectType(models.TextChoices):
    """What a grant can sit on; `system` holds for everything."""

    SYSTEM = "system"
    DATA_CENTER = "data_center", "data center"
    CLUSTER = "cluster"
    HOST = "host"
    STORAGE_DOMAIN = "storage_domain", "storage domain"
    NETWORK = "network"
    TEMPLATE = "template"
    VM = "vm", "VM"
    DISK = "disk"
    POOL = "pool"


class Grant(models.Model):
    """A role for a user or a group on one object, and on all that lies below it."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    user = models.ForeignKey(User, null=True, blank=True, on_delete=models.CASCADE, related_name="grants")
    group = models.ForeignKey(Group, null=True, blank=True, on_delete=models.CASCADE, related_name="grants")
    role = models.ForeignKey(Role, on_delete=models.PROTECT, related_name="grants")
    object_type = models.CharField(max_length=20, choices=ObjectType)
    object_id = models.UUIDField(null=True, blank=True)
    # When it ends by itself; an ended grant gives nothing, and stays to be seen until somebody withdraws or renews it.
    expires_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    created_by = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="+")

    class Meta:
        indexes = [models.Index(fields=["object_type", "object_id"])]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(user__isnull=False, group__isnull=True) | models.Q(user__isnull=True, group__isnull=False),
                name="grant_to_user_or_group",
            ),
            models.CheckConstraint(
                condition=models.Q(object_type="system", object_id__isnull=True)
                | (~models.Q(object_type="system") & models.Q(object_id__isnull=False)),
                name="grant_on_system_or_object",
            ),
            # Four, because SQL counts each NULL as different from every other.
            models.UniqueConstraint("user", "role", "object_type", "object_id", name="grant_user_once"),
            models.UniqueConstraint("group", "role", "object_type", "object_id", name="grant_group_once"),
            models.UniqueConstraint(fields=["user", "role"], condition=models.Q(object_type="system"), name="grant_user_system_once"),
            models.UniqueConstraint(fields=["group", "role"], condition=models.Q(object_type="system"), name="grant_group_system_once"),
        ]

    def __str__(self) -> str:
        return f"{self.role} for {self.user or self.group} on {self.object_type}"

    @property
    def has_ended(self) -> bool:
        return self.expires_at is not None and self.expires_at <= timezone.now()


class Token(models.Model):
    """An API token: only its digest is stored; the text is shown once."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="tokens")
    name = models.CharField(max_length=150)
    digest = models.CharField(max_length=64, unique=True, editable=False)
    hint = models.CharField(max_length=12, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)
    scope = models.CharField(max_length=20, default="all")
    last_used_at = models.DateTimeField(null=True, editable=False)
    expires_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-created_at"]

    def __str__(self) -> str:
        return self.name


from accounts.directory.models import GroupMapping, IdentityProvider  # noqa: E402, F401  models of this app in modules of their own
from accounts.factors.models import Authenticator, Passkey, RecoveryCode  # noqa: E402, F401
from accounts.keys.models import UserKey as UserKey  # noqa: E402
from accounts.quotas.models import Quota, QuotaHolder, QuotaLimit  # noqa: E402, F401
from accounts.sessions.models import UserSession  # noqa: E402, F401
