"""XML in and out: hostile input in, the same text out every time."""

from lxml import etree

_PARSER_OPTIONS = {"resolve_entities": False, "no_network": True, "huge_tree": False, "remove_comments": True, "remove_pis": True}


class BadXml(ValueError):
    """Not well-formed, or not what was expected."""


def parse(xml: str, root: str) -> etree._Element:
    """Parse without entities and network.

    Raises:
        BadXml: not well-formed, has a DOCTYPE, or the root element is not `root`.
    """
    try:
        element = etree.fromstring(xml.encode(), etree.XMLParser(**_PARSER_OPTIONS))  # noqa: S320 - options above
    except (etree.XMLSyntaxError, ValueError) as error:
        raise BadXml(f"not well-formed XML: {error}") from None
    if element.getroottree().docinfo.doctype:
        raise BadXml("a document type is not accepted")
    if element.tag != root:
        raise BadXml(f"<{root}> expected, found <{element.tag}>")
    return element


def render(element: etree._Element) -> str:
    """Indented text, ending in a newline."""
    etree.indent(element)
    return etree.tostring(element, encoding="unicode") + "\n"


def add(parent: etree._Element, tag: str, text: str | int | None = None, /, **attributes: str | int | None) -> etree._Element:
    """Append a child; attributes that are None or "" are left out, and a trailing underscore of a name is dropped."""
    child = etree.SubElement(parent, tag)
    if text is not None:
        child.text = str(text)
    for name, value in attributes.items():
        if value is not None and value != "":
            child.set(name.rstrip("_"), str(value))
    return child


def text(element: etree._Element, path: str, default: str = "") -> str:
    """Text of the first match, or the default."""
    found = element.find(path)
    return (found.text or "") if found is not None else default


def attribute(element: etree._Element, path: str, name: str, default: str = "") -> str:
    """Attribute of the first match ("." is the element itself), or the default."""
    found = element.find(path)
    return found.get(name, default) if found is not None else default


def number(value: str, default: int = 0) -> int:
    """An integer, or the default for anything else."""
    try:
        return int(value)
    except ValueError:
        return default


_UNITS = {"b": 1, "bytes": 1, "kb": 1000, "k": 1024, "kib": 1024, "mb": 1000**2, "m": 1024**2, "mib": 1024**2}
_UNITS |= {"gb": 1000**3, "g": 1024**3, "gib": 1024**3, "tb": 1000**4, "t": 1024**4, "tib": 1024**4}


def size(element: etree._Element, path: str, default_unit: str) -> int:
    """Bytes of an element like <memory unit='KiB'>1024</memory>, 0 when it is absent."""
    found = element.find(path)
    if found is None:
        return 0
    return number((found.text or "").strip()) * _UNITS.get(found.get("unit", default_unit).lower(), 1)
