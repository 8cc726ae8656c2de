"""Letting in whom a directory vouches for: the user is made at the first sign-in, and their groups follow the directory's at each."""

from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction

from accounts import services
from accounts.directory.ldap import normal_dn
from accounts.directory.models import IdentityProvider, ProviderKind
from accounts.directory.person import Person
from accounts.models import Group, User
from events.log import record
from portal.live import publish_to
from portal.names import plain, valid_name


def admit(provider: IdentityProvider, person: Person) -> User:
    """The user of this person. Raises ValidationError when another user has that name: nobody takes over an account by its name."""
    user = _known(provider, person) or _provision(provider, person)
    _refresh(user, person)
    if user.is_active:
        _follow_groups(user, provider, person)
    return user


def _known(provider: IdentityProvider, person: Person) -> User | None:
    return User.objects.filter(source=provider, external_id=person.external_id).first()


def _provision(provider: IdentityProvider, person: Person) -> User:
    user = User(username=valid_name(person.username, "username"), source=provider, external_id=person.external_id)
    user.set_unusable_password()
    if User.objects.filter(username__iexact=user.username).exists():
        # Two first sign-ins at once: the other one may have made this very user.
        if made := _known(provider, person):
            return made
        raise ValidationError(f"A user named {user.username} exists already, and does not come from {provider}. Ask an administrator.")
    user.full_clean(exclude=["password"])
    try:
        with transaction.atomic():
            user.save()
            record("user.created", f"User {user} came from {provider}", obj=user, user=user)
    except IntegrityError:
        if made := _known(provider, person):
            return made
        raise ValidationError(f"A user named {user.username} exists already.") from None
    return user


def _refresh(user: User, person: Person) -> None:
    """The name and address as the directory has them now."""
    now = {"full_name": plain(person.full_name)[:255], "email": person.email if len(person.email) <= 254 else ""}
    renamed = plain(person.username)
    taken = User.objects.filter(username__iexact=renamed).exclude(pk=user.pk).exists()
    if renamed and len(renamed) <= 150 and not taken:
        now["username"] = renamed
    changed = [name for name, value in now.items() if getattr(user, name) != value]
    for name in changed:
        setattr(user, name, now[name])
    if changed:
        user.save(update_fields=changed)


def _follow_groups(user: User, provider: IdentityProvider, person: Person) -> None:
    """Into the groups that the directory's lead to, and out of those that they no longer do. Groups without a mapping are left alone."""
    theirs = {comparable(provider, name) for name in person.groups}
    mapped, wanted = set(), set()
    for mapping in provider.mappings.select_related("group"):
        mapped.add(mapping.group)
        if comparable(provider, mapping.directory_group) in theirs:
            wanted.add(mapping.group)
    have = set(user.member_of.filter(pk__in=[group.pk for group in mapped]))
    for group in wanted - have:
        group.members.add(user)
        record("group.joined", f"{user} is in {group} by {provider}", obj=group, user=user)
    left = [group for group in have - wanted if _leave(user, group, provider)]
    if left or wanted - have:
        publish_to(f"user:{user.pk}", {"type": "live.recheck"})


def _leave(user: User, group: Group, provider: IdentityProvider) -> bool:
    try:
        with transaction.atomic():
            group.members.remove(user)
            services._keep_a_super_user()
    except services.LastSuperUser:
        record(
            "group.kept",
            f"{provider} no longer has {user} in {group}, but no other SuperUser is left",
            obj=group,
            severity="warning",
            user=user,
        )
        return False
    record("group.left", f"{user} is no longer in {group} by {provider}", obj=group, user=user)
    return True


def comparable(provider: IdentityProvider, name: str) -> str:
    """A directory's name of a group in one spelling."""
    if provider.kind != ProviderKind.LDAP:
        return name
    try:
        return normal_dn(name)
    except ValueError:
        return ""
