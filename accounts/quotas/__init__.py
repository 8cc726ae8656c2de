"""Quotas: how much of a data center certain users and groups may take."""
