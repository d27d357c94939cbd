"""Tells viewers of 360° pictures that a picture shows all round: XMP metadata in its file.

The properties are those of Google's "Photo Sphere XMP Metadata" (developers.google.com/streetview/
spherical-metadata), which viewers, photo sites and headsets look for. The picture's middle is ahead, where
viewers begin if nothing else is said. A compass heading is not given: a scene knows no north.
"""

from __future__ import annotations

from nerfscene.types import Intrinsics

KEYWORD = "XML:com.adobe.xmp"  # of a PNG's text with XMP data (XMP specification, part 3, 1.1.5)
NAMESPACE = "http://ns.google.com/photos/1.0/panorama/"
TOOL = "nerfscene"


def xmp_of(k: Intrinsics) -> str | None:
    """The XMP document for pictures taken with a lens; None if it doesn't show all round.

    The specification has no words for two eyes side by side, so a ``stereo180`` picture has none.
    """
    if k.lens != "equirectangular":
        return None
    facts = {
        "UsePanoramaViewer": "True",
        "ProjectionType": "equirectangular",
        "StitchingSoftware": TOOL,
        "CroppedAreaImageWidthPixels": k.width,
        "CroppedAreaImageHeightPixels": k.height,
        "FullPanoWidthPixels": k.width,
        "FullPanoHeightPixels": k.height,
        "CroppedAreaLeftPixels": 0,
        "CroppedAreaTopPixels": 0,
    }
    told = "".join(f"<GPano:{name}>{value}</GPano:{name}>" for name, value in facts.items())
    return (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        f'<rdf:Description rdf:about="" xmlns:GPano="{NAMESPACE}">{told}</rdf:Description>'
        '</rdf:RDF></x:xmpmeta><?xpacket end="r"?>'
    )
