from django.urls import include, path

from accounts.keys import pages as key_pages
from accounts.views import grants, look, me, people, roles, session

app_name = "accounts"
urlpatterns = [
    path("", include("accounts.directory.urls")),
    path("", include("accounts.factors.urls")),
    path("", include("accounts.sessions.urls")),
    path("sign-in/", session.sign_in, name="sign-in"),
    path("sign-out/", session.sign_out, name="sign-out"),
    path("me/", me.me, name="me"),
    path("me/password/", me.password, name="password"),
    path("me/preferences/", me.preferences, name="preferences"),
    path("me/columns/", me.columns, name="columns"),
    path("me/tokens/new/", me.new_token, name="new-token"),
    path("me/tokens/<uuid:pk>/delete/", me.delete_token, name="delete-token"),
    path("me/keys/new/", key_pages.new_key, name="new-key"),
    path("me/keys/<uuid:pk>/delete/", key_pages.delete_key, name="delete-key"),
    path("users/", people.users, name="users"),
    path("users/new/", people.new_user, name="new-user"),
    path("users/<uuid:pk>/", people.user, name="user"),
    path("users/<uuid:pk>/active/", people.set_active, name="set-active"),
    path("users/<uuid:pk>/delete/", people.delete_user, name="delete-user"),
    path("users/<uuid:pk>/look/", look.start, name="look"),
    path("look/end/", look.end, name="end-look"),
    path("groups/", people.groups, name="groups"),
    path("groups/new/", people.group, name="new-group"),
    path("groups/<uuid:pk>/", people.group, name="group"),
    path("groups/<uuid:pk>/delete/", people.delete_group, name="delete-group"),
    path("roles/", roles.roles, name="roles"),
    path("roles/new/", roles.new_role, name="new-role"),
    path("roles/<uuid:pk>/", roles.role, name="role"),
    path("roles/<uuid:pk>/edit/", roles.edit_role, name="edit-role"),
    path("roles/<uuid:pk>/delete/", roles.delete_role, name="delete-role"),
    path("grants/give/", grants.give, name="give"),
    path("grants/<uuid:pk>/withdraw/", grants.withdraw, name="withdraw"),
    path("permissions/<str:object_type>/<uuid:pk>/", grants.on_object, name="object-grants"),
]
