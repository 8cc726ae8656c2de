"""What may be inside a SAML document before anybody looks for a signature in it.

Signature wrapping and entity bombs live from documents that two parsers read in two ways. So nothing is let through but the plain
form that providers send: no DTD, no comments, each id once, one assertion in its one place, one signature that covers all of it.
"""

import base64
import binascii

from lxml import etree

SAML, SAMLP, DS = "urn:oasis:names:tc:SAML:2.0:assertion", "urn:oasis:names:tc:SAML:2.0:protocol", "http://www.w3.org/2000/09/xmldsig#"
MOST_BYTES = 256 * 1024
_MORE, _ENC = "http://www.w3.org/2001/04/xmldsig-more#", "http://www.w3.org/2001/04/xmlenc#"
_SIGNATURES = {f"{_MORE}{kind}-sha{bits}" for kind in ("rsa", "ecdsa") for bits in (256, 384, 512)}
_DIGESTS = {f"{_ENC}sha256", f"{_ENC}sha512", f"{_MORE}sha384"}


class BadDocument(ValueError):
    """A document that is refused; the text says why, for administrators."""


def parse(data: bytes, most: int = MOST_BYTES) -> etree._Element:
    """The root of an XML document without entities, comments and processing instructions."""
    if len(data) > most:
        raise BadDocument("the document is too long")
    try:
        data.decode("utf-8")
        root = etree.fromstring(data, etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False))
    except (ValueError, etree.XMLSyntaxError) as error:
        raise BadDocument(f"this is no XML: {error}") from None
    tree = root.getroottree()
    if tree.docinfo.internalDTD is not None or tree.docinfo.doctype:
        raise BadDocument("the document brings a DTD")
    if (tree.docinfo.encoding or "UTF-8").upper() not in ("UTF-8", "US-ASCII"):
        raise BadDocument("the document is not in UTF-8")
    if next(tree.iter(etree.Comment, etree.PI, etree.Entity), None) is not None:
        raise BadDocument("the document holds comments or processing instructions")
    return root


def decoded(answer: str) -> bytes:
    """The document in the form field SAMLResponse."""
    if len(answer) > MOST_BYTES * 3 // 2:
        raise BadDocument("the answer is too long")
    try:
        return base64.b64decode("".join(answer.split()), validate=True)
    except (binascii.Error, ValueError):
        raise BadDocument("the answer is not in Base64") from None


def question_of(data: bytes) -> str:
    """To which question a response claims to be the answer; nothing of it is verified yet."""
    root = parse(data)
    if root.tag != f"{{{SAMLP}}}Response":
        raise BadDocument("this is no SAML response")
    return root.get("InResponseTo", "")


def require_plain_response(data: bytes) -> None:
    """Raises BadDocument for what no honest provider sends."""
    root = parse(data)
    if root.tag != f"{{{SAMLP}}}Response":
        raise BadDocument("this is no SAML response")
    _require_ids_once(root)
    assertions = list(root.iter(f"{{{SAML}}}Assertion"))
    if next(root.iter(f"{{{SAML}}}EncryptedAssertion"), None) is not None:
        raise BadDocument("the assertion is encrypted, which Vireo does not read")
    # A provider that says no sends no assertion; the status is told by whoever reads on.
    if len(assertions) > 1 or any(each.getparent() is not root for each in assertions):
        raise BadDocument("there is more than one assertion, or it is not in its place")
    for assertion in assertions:
        if len(assertion.findall(f"{{{DS}}}Signature")) != 1:
            raise BadDocument("the assertion is not signed")
    for signature in root.iter(f"{{{DS}}}Signature"):
        _require_whole(signature, {root, *assertions})


def _require_ids_once(root: etree._Element) -> None:
    ids = [value for each in root.iter() for name, value in each.attrib.items() if etree.QName(name).localname.lower() == "id"]
    if len(ids) != len(set(ids)):
        raise BadDocument("an id is used twice")


def _require_whole(signature: etree._Element, signed: set[etree._Element]) -> None:
    """This signature covers the element that holds it, whole, by methods that are still good."""
    holder = signature.getparent()
    references = list(signature.iter(f"{{{DS}}}Reference"))
    if holder not in signed or len(references) != 1 or not holder.get("ID") or references[0].get("URI") != f"#{holder.get('ID')}":
        raise BadDocument("a signature does not cover what holds it")
    methods = [each.get("Algorithm") for each in signature.iter(f"{{{DS}}}SignatureMethod")]
    digests = [each.get("Algorithm") for each in signature.iter(f"{{{DS}}}DigestMethod")]
    if len(methods) != 1 or len(digests) != 1 or methods[0] not in _SIGNATURES or digests[0] not in _DIGESTS:
        raise BadDocument(f"the signature's method is not accepted: {methods}, {digests}")
