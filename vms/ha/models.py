"""What waits to run again."""

from django.db import models


class Restart(models.Model):
    """A highly available VM that ended without being asked to, until it runs again. The queue lies in the database, so nothing forgets it."""

    vm = models.OneToOneField("vms.VM", primary_key=True, on_delete=models.CASCADE, related_name="restart")
    cause = models.TextField(help_text="why it has to be started, as a clause")
    asked_at = models.DateTimeField(auto_now_add=True)
    not_before = models.DateTimeField()
    attempts = models.PositiveSmallIntegerField(default=0)
    error = models.TextField(blank=True, default="", help_text="of the last attempt")
    given_up = models.BooleanField(default=False)

    def __str__(self) -> str:
        return f"{self.vm} is to run again: {self.cause}"
