"""The answer file of Windows Setup and sysprep. Pure; lxml escapes every value."""

import base64

from lxml import etree

from vms.guest.settings import FirstBoot

_SPACE = "urn:schemas-microsoft-com:unattend"
_CONFIG = "http://schemas.microsoft.com/WMIConfig/2002/State"
DEFAULT_LOCALE = "en-US"


def unattend(settings: FirstBoot, computer_name: str) -> str:
    """For an installation from the CD of Windows, and for a disk that sysprep has generalized."""
    root = etree.Element(f"{{{_SPACE}}}unattend", nsmap={None: _SPACE, "wcm": _CONFIG})
    locale = settings.locale or DEFAULT_LOCALE
    _setup(root, settings, locale)
    _specialize(root, settings, computer_name)
    _first_use(root, settings, locale)
    return etree.tostring(root, xml_declaration=True, encoding="utf-8", pretty_print=True).decode()


def _component(settings: etree._Element, name: str) -> etree._Element:
    return etree.SubElement(
        settings,
        f"{{{_SPACE}}}component",
        name=f"Microsoft-Windows-{name}",
        processorArchitecture="amd64",
        publicKeyToken="31bf3856ad364e35",
        language="neutral",
        versionScope="nonSxS",
    )


def _pass(root: etree._Element, name: str) -> etree._Element:
    element = etree.SubElement(root, f"{{{_SPACE}}}settings")
    element.set("pass", name)
    return element


def _add(parent: etree._Element, tag: str, text: str = "") -> etree._Element:
    element = etree.SubElement(parent, f"{{{_SPACE}}}{tag}")
    element.text = text or None
    return element


def _languages(parent: etree._Element, name: str, locale: str) -> etree._Element:
    component = _component(parent, name)
    for tag in ("InputLocale", "SystemLocale", "UILanguage", "UserLocale"):
        _add(component, tag, locale)
    return component


def _setup(root: etree._Element, settings: FirstBoot, locale: str) -> None:
    """While it installs. Disks are not touched: whoever installs chooses them."""
    stage = _pass(root, "windowsPE")
    languages = _languages(stage, "International-Core-WinPE", locale)
    _add(_add(languages, "SetupUILanguage"), "UILanguage", locale)
    data = _add(_component(stage, "Setup"), "UserData")
    _add(data, "AcceptEula", "true")
    for tag, value in (("FullName", settings.owner), ("Organization", settings.organization)):
        if value:
            _add(data, tag, value)
    if settings.product_key:
        _add(_add(data, "ProductKey"), "Key", settings.product_key)


def _specialize(root: etree._Element, settings: FirstBoot, computer_name: str) -> None:
    shell = _component(_pass(root, "specialize"), "Shell-Setup")
    values = (
        ("ComputerName", computer_name),
        ("ProductKey", settings.product_key),
        ("RegisteredOrganization", settings.organization),
        ("RegisteredOwner", settings.owner),
        ("TimeZone", settings.time_zone),
    )
    for tag, value in values:
        if value:
            _add(shell, tag, value)


def _first_use(root: etree._Element, settings: FirstBoot, locale: str) -> None:
    stage = _pass(root, "oobeSystem")
    _languages(stage, "International-Core", locale)
    shell = _component(stage, "Shell-Setup")
    welcome = _add(shell, "OOBE")
    for tag in ("HideEULAPage", "HideLocalAccountScreen", "HideOnlineAccountScreens", "HideWirelessSetupInOOBE"):
        _add(welcome, tag, "true")
    _add(welcome, "ProtectYourPC", "3")
    if settings.password:
        accounts = _add(shell, "UserAccounts")
        _password(_add(accounts, "AdministratorPassword"), settings.password, "AdministratorPassword")
        if settings.user and settings.user.lower() != "administrator":
            account = _add(_add(accounts, "LocalAccounts"), "LocalAccount")
            account.set(f"{{{_CONFIG}}}action", "add")
            _password(_add(account, "Password"), settings.password, "Password")
            _add(account, "Group", "Administrators")
            _add(account, "Name", settings.user)
    if settings.time_zone:
        _add(shell, "TimeZone", settings.time_zone)


def _password(element: etree._Element, password: str, suffix: str) -> None:
    """As Windows wants it: not in clear, though no secret to who knows how; it takes any character, too."""
    _add(element, "Value", base64.b64encode((password + suffix).encode("utf-16-le")).decode())
    _add(element, "PlainText", "false")
