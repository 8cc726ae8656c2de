"""URLs of the sign-in providers, within those of accounts."""

from django.urls import path

from accounts.directory import oidc_views, views
from accounts.directory.saml import views as saml_views

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
    path("providers/<uuid:pk>/try-saml/", saml_views.test, name="test-saml"),
    path("sign-in/saml/<uuid:pk>/", saml_views.sign_in, name="saml-sign-in"),
    path("sign-in/saml/<uuid:pk>/answer/", saml_views.answer, name="saml-answer"),
    path("sign-in/saml/<uuid:pk>/return/", saml_views.come_back, name="saml-return"),
    path("sign-in/saml/<uuid:pk>/metadata/", saml_views.metadata, name="saml-metadata"),
    path("group-mappings/<uuid:pk>/delete/", views.unmap_group, name="unmap-group"),
]
