"""Addresses of downloads: opened with redirects that are as safe as they are, and shown without secrets."""

from __future__ import annotations

import http.client
import urllib.request
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from ..errors import WeightsError


def redacted(url: str) -> str:
    """The address without its parts that may be secret: user, password, query."""
    split = urlsplit(url)
    host = split.netloc.rpartition("@")[2]
    return urlunsplit((split.scheme, host, split.path, "", ""))


def open_address(request: urllib.request.Request, *, timeout_seconds: float) -> http.client.HTTPResponse:
    """Send a request and return the response, after redirects.

    Raises:
        WeightsError: If it is redirected to anything but https, or http where the request was http.
        OSError: As ``urllib.request.urlopen`` does, which also raises ValueError and http.client.HTTPException.
    """
    return urllib.request.build_opener(_SafeRedirects).open(request, timeout=timeout_seconds)


class _SafeRedirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects to http and https, but not from https to http."""

    def redirect_request(
        self, req: urllib.request.Request, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        """Return the next request.

        Raises:
            WeightsError: If it would be less safe than the first.
        """
        schemes = ("https",) if req.type == "https" else ("https", "http")
        if urlsplit(newurl).scheme not in schemes:
            raise WeightsError(
                f"could not fetch {redacted(req.full_url)}: it redirects to {redacted(newurl)}, which is not "
                f"{' or '.join(schemes)}; use another source (--from)"
            )
        return super().redirect_request(req, fp, code, msg, headers, newurl)
