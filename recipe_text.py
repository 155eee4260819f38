"""Find the text of a recipe inside a picture's file: in a PNG an iTXt chunk, in JPEG and WebP an XMP packet.

`studio/service/recipe_files.py` writes and reads whole recipes; a client needs no more than what stands here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from xml.sax.saxutils import escape, unescape

if TYPE_CHECKING:
    from PIL.Image import Image

CHUNK: Final = "salon"
FORMATS: Final = ("PNG", "JPEG", "WEBP")
MAX_TEXT: Final = 1 << 20  # characters of a recipe
_XMP_OPEN: Final = (
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    '<rdf:Description rdf:about="" xmlns:salon="urn:salon:1"><salon:recipe>'
)
_XMP_CLOSE: Final = "</salon:recipe></rdf:Description></rdf:RDF></x:xmpmeta>"


def xmp_of(text: str) -> bytes:
    """Return an XMP packet with a recipe."""
    return f"{_XMP_OPEN}{escape(text)}{_XMP_CLOSE}".encode()


def text_in(image: Image) -> str | None:
    """Return the recipe in a picture that Pillow has opened, not longer than `MAX_TEXT` and one more; None: none."""
    found = image.info.get(CHUNK) if image.format == "PNG" else _of_xmp(image.info.get("xmp"))
    return found[: MAX_TEXT + 1] if isinstance(found, str) else None


def _of_xmp(packet: Any) -> str | None:
    """Return the recipe in an XMP packet, found as text: no parser of XML meets what a stranger wrote."""
    if not isinstance(packet, bytes):
        return None
    before, opened, rest = packet.decode("utf-8", "replace").partition("<salon:recipe>")
    inside, closed, _ = rest.partition("</salon:recipe>")
    return unescape(inside) if opened and closed else None
