"""Forms of the accounts pages. They read and check shapes; the services decide."""

from django import forms

from accounts.models import Group, ObjectType, Role, User
from accounts.tokens import SCOPES


class SignInForm(forms.Form):
    username = forms.CharField(
        max_length=150, widget=forms.TextInput(attrs={"autocomplete": "username", "autofocus": True}), label="User name"
    )
    password = forms.CharField(max_length=1024, strip=False, widget=forms.PasswordInput(attrs={"autocomplete": "current-password"}))


class NewUserForm(forms.Form):
    username = forms.CharField(max_length=150, label="User name", widget=forms.TextInput(attrs={"autocomplete": "off"}))
    full_name = forms.CharField(max_length=255, required=False)
    email = forms.EmailField(required=False)
    password = forms.CharField(
        max_length=1024,
        strip=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
        help_text="At least 10 characters.",
    )


class ServiceAccountForm(forms.Form):
    username = forms.CharField(max_length=150, label="Name", widget=forms.TextInput(attrs={"autocomplete": "off"}))
    full_name = forms.CharField(max_length=255, required=False, label="What it is for")


class PasswordForm(forms.Form):
    """`current` is asked of everyone who changes their own."""

    current = forms.CharField(
        max_length=1024, strip=False, label="Current password", widget=forms.PasswordInput(attrs={"autocomplete": "current-password"})
    )
    password = forms.CharField(
        max_length=1024,
        strip=False,
        label="New password",
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
        help_text="At least 10 characters.",
    )


class GroupForm(forms.ModelForm):
    members = forms.ModelMultipleChoiceField(User.objects.all(), required=False, widget=forms.CheckboxSelectMultiple)

    class Meta:
        model = Group
        fields = ["name", "description", "require_second_factor", "members"]
        labels = {"require_second_factor": "Members must have a second factor"}
        widgets = {"description": forms.TextInput()}


class RoleForm(forms.ModelForm):
    """Name and purpose; the permissions come from the tree of checkboxes beside it."""

    class Meta:
        model = Role
        fields = ["name", "description"]
        widgets = {"description": forms.TextInput()}


class TokenForm(forms.Form):
    LIFETIMES = [("30", "30 days"), ("90", "90 days"), ("365", "a year"), ("", "for ever")]

    name = forms.CharField(max_length=150, help_text="What will use it, e.g. «backup script».")
    scope = forms.ChoiceField(
        choices=[(name, title) for name, (title, _) in SCOPES.items()],
        initial="read",
        help_text="A token never does more than its user may.",
    )
    lifetime_days = forms.ChoiceField(choices=LIFETIMES, required=False, initial="90", label="Valid for")


class ColumnsForm(forms.Form):
    """Which columns of a list are shown; `known` are those that the page offered."""

    MOST = 40

    list = forms.SlugField(max_length=40)

    def names(self, field: str) -> set[str]:
        return set(self.data.getlist(field)[: self.MOST])

    def clean(self) -> dict[str, object]:
        if any(len(name) > self.MOST for name in self.names("known")):
            raise forms.ValidationError("This is no column.")
        return super().clean() or {}


class GrantForm(forms.Form):
    """To whom, and which role; the object comes from the page's URL."""

    role = forms.ModelChoiceField(Role.objects.all())
    user = forms.ModelChoiceField(User.objects.filter(is_active=True), required=False, empty_label="—")
    group = forms.ModelChoiceField(Group.objects.all(), required=False, empty_label="—")
    expires_at = forms.DateTimeField(
        required=False,
        label="Until (UTC)",
        help_text="Empty: without end.",
        widget=forms.DateTimeInput(attrs={"type": "datetime-local"}, format="%Y-%m-%dT%H:%M"),
    )
    object_type = forms.ChoiceField(choices=ObjectType, widget=forms.HiddenInput)
    object_id = forms.UUIDField(required=False, widget=forms.HiddenInput)

    def clean(self) -> dict[str, object]:
        data = super().clean() or {}
        if bool(data.get("user")) == bool(data.get("group")):
            self.add_error("user", "Choose one user or one group.")
        if (data.get("object_type") == ObjectType.SYSTEM) != (data.get("object_id") is None):
            self.add_error(None, "The object of this grant is missing.")
        return data


class PreferencesForm(forms.Form):
    theme = forms.ChoiceField(choices=[("auto", "as the system"), ("light", "light"), ("dark", "dark")])
