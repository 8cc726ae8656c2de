"""One module per kind of object; each gives a ninja Router."""
