"""The verbs on sign-in providers. Whoever decides who somebody is can be anybody: each verb asks for all that this could hand over."""

from dataclasses import dataclass, field
from typing import Any

from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction

from accounts import services
from accounts.directory import ldap
from accounts.directory.admission import comparable
from accounts.directory.models import GroupMapping, IdentityProvider, ProviderKind
from accounts.directory.person import DirectoryProblem, Person
from accounts.directory.settings import directory_of
from accounts.models import Grant, Group, User
from accounts.permissions import require
from accounts.reach import grants_of_group, grants_of_users, require_reach
from events.log import record
from portal.errors import FieldError
from portal.live import publish_to

# Settings that say to whom the secret is sent: changing one asks for the secret again, so that nobody has it sent to themselves.
SENT_TO = ("urls", "ca", "bind_dn", "issuer", "client_id")


def _require(actor: User, provider: IdentityProvider) -> None:
    require(actor, "user.manage")
    if not provider._state.adding:
        what = f"change {provider}, by which others sign in"
        require_reach(actor, grants_of_users(User.objects.filter(source=provider)), what)
        require_reach(actor, Grant.objects.filter(group__mappings__provider=provider), what)


def save_provider(
    actor: User, provider: IdentityProvider, *, name: str, enabled: bool, settings: dict[str, Any], secret: str
) -> IdentityProvider:
    """Creates or changes a provider; an empty secret keeps the stored one."""
    _require(actor, provider)
    if IdentityProvider.objects.filter(name__iexact=name).exclude(pk=provider.pk).exists():
        raise FieldError("name", f"A provider named {name} exists already.")
    moved = any(provider.settings.get(key) != settings.get(key) for key in SENT_TO)
    if not secret and provider.encrypted_secret and moved:
        raise FieldError("secret", "Enter this again: it would be sent elsewhere than before.")
    created = provider._state.adding
    provider.name, provider.enabled, provider.settings = name, enabled, settings
    if secret:
        provider.secret = secret
    provider.full_clean()
    provider.save()
    record(
        "identity_provider.created" if created else "identity_provider.changed",
        f"Sign-in by {provider} was {'set up' if created else 'changed'} and is {'on' if enabled else 'off'}",
        obj=provider,
        user=actor,
    )
    return provider


def remove_provider(actor: User, provider: IdentityProvider) -> None:
    """Only while nobody has come from it: their names would be left without an owner."""
    _require(actor, provider)
    count = User.objects.filter(source=provider).count()
    if count:
        raise ValidationError(f"{count} users came from {provider}. Switch it off instead, or remove these users first.")
    with transaction.atomic():
        record("identity_provider.removed", f"Sign-in by {provider} was removed", obj=provider, user=actor)
        provider.delete()


def map_group(actor: User, provider: IdentityProvider, directory_group: str, group: Group) -> GroupMapping:
    """Whoever the directory has in its group will be in ours: only for who could grant all that ours holds."""
    require(actor, "user.manage")
    require_reach(actor, grants_of_group(group), f"lead people into {group}")
    directory_group = directory_group.strip()
    if not comparable(provider, directory_group):
        raise FieldError("directory_group", "Write the group's whole name, such as cn=admins,ou=groups,dc=example,dc=org.")
    try:
        with transaction.atomic():
            mapping = GroupMapping.objects.create(provider=provider, directory_group=directory_group, group=group)
    except IntegrityError:
        raise FieldError("directory_group", f"This group leads to {group} already.") from None
    record("group.mapped", f"{directory_group} of {provider} leads to {group}", obj=group, user=actor)
    return mapping


def unmap_group(actor: User, mapping: GroupMapping) -> None:
    """Takes out of the group whom the directory brought; whom another mapping leads there comes back with the next sign-in."""
    require(actor, "user.manage")
    require_reach(actor, grants_of_group(mapping.group), f"take people out of {mapping.group}")
    brought = list(mapping.group.members.filter(source=mapping.provider))
    with transaction.atomic():
        mapping.group.members.remove(*brought)
        record("group.unmapped", f"{mapping} was removed from {mapping.provider}", obj=mapping.group, user=actor)
        mapping.delete()
        services._keep_a_super_user()
    for user in brought:
        publish_to(f"user:{user.pk}", {"type": "live.recheck"})


@dataclass
class Answer:
    """What a directory said in a test, step by step; never a password."""

    steps: list[str] = field(default_factory=list)
    person: Person | None = None
    leads_to: list[Group] = field(default_factory=list)
    problem: str = ""
    cause: str = ""


def leads_to(provider: IdentityProvider, person: Person) -> list[Group]:
    """Our groups that this person would be in."""
    theirs = {comparable(provider, name) for name in person.groups}
    mappings = provider.mappings.select_related("group")
    return sorted({each.group for each in mappings if comparable(provider, each.directory_group) in theirs}, key=str)


def try_provider(actor: User, provider: IdentityProvider, username: str, password: str) -> Answer:
    """Asks the directory for a user; with a password it tries that too. Nobody is signed in, nothing is changed."""
    _require(actor, provider)
    answer = Answer()
    try:
        answer.person = _asked(provider, username, password, answer.steps)
    except DirectoryProblem as problem:
        answer.problem, answer.cause = problem.text, problem.cause
    if answer.person is not None:
        answer.leads_to = leads_to(provider, answer.person)
    record("identity_provider.tested", f"{provider} was tested", obj=provider, user=actor, details={"username": username[:150]})
    return answer


def _asked(provider: IdentityProvider, username: str, password: str, steps: list[str]) -> Person | None:
    if provider.kind != ProviderKind.LDAP:
        raise DirectoryProblem("This kind of provider cannot be asked for a user.")
    directory = directory_of(provider)
    if password:
        return ldap.verify(directory, username, password, say=steps.append)
    return ldap.look_up(directory, username, say=steps.append)
