"""Accounts of programs: no password, no pages, tokens alone. And the tokens of others, which an administrator may take away."""

from datetime import datetime

from django.core.exceptions import ValidationError

from accounts import tokens
from accounts.models import Token, User
from accounts.permissions import require
from accounts.reach import grants_of_users, require_reach
from events.log import record
from portal.names import valid_name


def create(actor: User, username: str, full_name: str = "") -> User:
    """Raises ValidationError with the field at fault."""
    require(actor, "user.manage")
    username = valid_name(username, "username")
    if User.objects.filter(username__iexact=username).exists():
        raise ValidationError({"username": f"A user named {username} exists already."})
    account = User(username=username, full_name=full_name and valid_name(full_name, "full_name"), is_service=True)
    account.set_unusable_password()
    account.full_clean(exclude=["password"])
    account.save()
    record("user.created", f"Service account {username} was created", obj=account, user=actor)
    return account


def new_token(actor: User, account: User, name: str, scope: str, expires_at: datetime | None) -> tuple[Token, str]:
    """A token of a service account, and its text. Whoever has it does what the account may: so the actor must hold that."""
    require(actor, "user.manage")
    if not account.is_service:
        raise ValidationError(f"{account} is a person, who makes their own tokens.")
    require_reach(actor, grants_of_users(User.objects.filter(pk=account.pk)), f"make a token of {account}")
    made, text = tokens.create(account, name, expires_at, scope)
    record("token.created", f"API token {made.name} of {account} was created", obj=account, user=actor, details={"scope": scope})
    return made, text


def remove_token(actor: User, token: Token) -> None:
    """One's own, or another's with user.manage."""
    if actor.pk != token.user_id:
        require(actor, "user.manage")
    record("token.removed", f"API token {token.name} of {token.user} was removed", obj=token.user, user=actor)
    token.delete()
