"""URLs of sessions, tokens and service accounts, within those of accounts."""

from django.urls import path

from accounts.sessions import views

urlpatterns = [
    path("sessions/", views.sessions, name="sessions"),
    path("sessions/<uuid:pk>/end/", views.end, name="end-session"),
    path("tokens/", views.tokens, name="tokens"),
    path("tokens/<uuid:pk>/delete/", views.delete_token, name="take-token"),
    path("service-accounts/new/", views.new_service_account, name="new-service-account"),
    path("users/<uuid:pk>/sessions/end/", views.end_all, name="end-sessions"),
    path("users/<uuid:pk>/tokens/new/", views.new_service_token, name="new-service-token"),
]
