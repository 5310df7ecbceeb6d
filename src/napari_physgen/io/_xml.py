"""XML from files of others: no entities, and damage becomes one sentence."""

from __future__ import annotations

from xml.etree import ElementTree

from napari_physgen.errors import UserError


def parse_xml(text: str | bytes, name: str) -> ElementTree.Element:
    """Return the root element.

    Parameters
    ----------
    text : str or bytes
    name : str
        Of the file, for the message.

    Raises
    ------
    UserError
        If it is no XML, or declares entities, which can be made to fill the memory.
    """
    declared = "<!ENTITY" if isinstance(text, str) else b"<!ENTITY"
    if declared in text:  # type: ignore[operator]
        raise UserError(f"{name} holds XML entities, which measurements never need: not read.")
    try:
        return ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise UserError(f"{name} holds damaged XML ({error}).") from None
