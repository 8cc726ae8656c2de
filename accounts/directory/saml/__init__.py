"""Sign-in by SAML 2.0: asked for by us alone, answered by a signed assertion."""
