"""The self-service portal: the pages of whoever administers nothing. Services decide; these show and ask."""
