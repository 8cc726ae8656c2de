"""The image library: images come in by upload or URL, are looked at before anything opens them, and go out again."""
