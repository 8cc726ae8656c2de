"""URLs of second factors, within those of accounts."""

from django.urls import path

from accounts.factors import passkey_views, views

urlpatterns = [
    path("sign-in/second/", views.second_factor, name="second-factor"),
    path("me/factors/", views.factors, name="factors"),
    path("me/factors/app/", views.set_up_app, name="set-up-app"),
    path("me/factors/app/remove/", views.remove_app, name="remove-app"),
    path("sign-in/second/passkey/options/", passkey_views.options, name="passkey-options"),
    path("sign-in/second/passkey/", passkey_views.sign_in, name="passkey-sign-in"),
    path("me/factors/passkeys/options/", passkey_views.new_options, name="new-passkey-options"),
    path("me/factors/passkeys/new/", passkey_views.add, name="new-passkey"),
    path("me/factors/passkeys/<uuid:pk>/remove/", views.remove_passkey, name="remove-passkey"),
    path("me/factors/recovery-codes/", views.recovery_codes, name="recovery-codes"),
    path("users/<uuid:pk>/factors/reset/", views.reset, name="reset-factors"),
]
