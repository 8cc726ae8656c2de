"""URLs of the sign-in providers, within those of accounts."""

from django.urls import path

from accounts.directory import oidc_views, views

urlpatterns = [
    path("providers/", views.providers, name="providers"),
    path("providers/new/", views.new_provider, name="new-provider"),
    path("providers/<uuid:pk>/", views.provider, name="provider"),
    path("providers/<uuid:pk>/edit/", views.edit_provider, name="edit-provider"),
    path("providers/<uuid:pk>/test/", views.try_provider, name="try-provider"),
    path("providers/<uuid:pk>/delete/", views.remove_provider, name="remove-provider"),
    path("providers/<uuid:pk>/groups/new/", views.map_group, name="map-group"),
    path("providers/<uuid:pk>/try/", oidc_views.test, name="test-oidc"),
    path("sign-in/by/<uuid:pk>/", oidc_views.sign_in, name="oidc-sign-in"),
    path("sign-in/by/<uuid:pk>/return/", oidc_views.come_back, name="oidc-return"),
    path("group-mappings/<uuid:pk>/delete/", views.unmap_group, name="unmap-group"),
]
