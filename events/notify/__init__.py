"""Telling users what happened: on the page, by mail, by webhook."""
