from django.urls import path

from metrics import views

app_name = "metrics"
urlpatterns = [path("metrics/<str:object_type>/<uuid:pk>/", views.series, name="series")]
