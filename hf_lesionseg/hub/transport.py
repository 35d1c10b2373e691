"""Whether the Hub can be reached at all, checked before a library tries for a minute, and what prevents it if not.

Everything that decides it comes from the environment: the endpoint, proxies, certificates, the folder of the cache.
"""

import importlib
import importlib.util
import os
import re
import secrets
import ssl
import time
import urllib.request
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

from huggingface_hub import constants

from ..errors import HubError

_PROXIES = ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY")
_PROXY_SCHEMES = ("http", "https", "socks5", "socks5h")
_CACHES = ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME")
_SECONDS = 10.0


def _transport_errors():
    """Network failures of the HTTP client: httpx2 under huggingface_hub 2, httpx under 1."""
    for name in ("httpx2", "httpx"):
        if importlib.util.find_spec(name):
            yield importlib.import_module(name).TransportError


TRANSPORT_ERRORS = tuple(_transport_errors())


def check_settings(endpoint=None):
    """Refuse an environment with which no request can be made.

    Parameters
    ----------
    endpoint : str, optional
        By default the environment's.

    Raises
    ------
    HubError
        Names the variable, its value and what to set.
    """
    endpoint = endpoint or constants.ENDPOINT
    if not re.match(r"https?://[^/]", endpoint):
        raise HubError(f"HF_ENDPOINT is {endpoint!r}, which is not an address; give it with http:// or https://")
    for name, value in _environment(_PROXIES):
        scheme = value.partition("://")[0].lower() if "://" in value else "http"
        if scheme not in _PROXY_SCHEMES:
            raise HubError(f"{name} is {_hidden(value)}, and no proxy speaks {scheme}; set one of http:// or unset it")
        if scheme.startswith("socks") and not importlib.util.find_spec("socksio"):
            raise HubError(f"{name} is {_hidden(value)}, and SOCKS needs another package: pip install socksio")
    certificates = os.environ.get("SSL_CERT_FILE")
    if certificates and not os.access(certificates, os.R_OK):
        raise HubError(f"SSL_CERT_FILE is {certificates}, which is not a file that you may read; correct or unset it")


def why_unreachable(endpoint=None, attempts=2):
    """Ask the endpoint for an answer, whatever it is.

    Parameters
    ----------
    endpoint : str, optional
    attempts : int

    Returns
    -------
    str or None
        What stands in the way, with the variable to set; None where it answers.
    """
    from huggingface_hub.utils import get_session

    endpoint = endpoint or constants.ENDPOINT
    try:
        check_settings(endpoint)
    except HubError as error:
        return str(error)
    for attempt in range(1, attempts + 1):
        try:
            get_session().head(endpoint, timeout=_SECONDS)
            return None
        except (*TRANSPORT_ERRORS, OSError, ImportError, ValueError) as error:
            reason, temporary = explain(error, endpoint)
            if attempt == attempts or not temporary:
                return reason
        time.sleep(1)
    return None


def explain(error, endpoint=None):
    """Say why a request failed.

    Parameters
    ----------
    error : Exception
    endpoint : str, optional

    Returns
    -------
    reason : str
        With the variable to set, where one has to do with it.
    temporary : bool
        Whether trying again may help.
    """
    endpoint = endpoint or constants.ENDPOINT
    text = " ".join(str(error).split()) or type(error).__name__
    if "CERTIFICATE_VERIFY_FAILED" in text:
        return (
            f"the certificate of {endpoint} is not trusted here; set SSL_CERT_FILE to the certificates of whoever "
            f"signs it, as a proxy of your organisation does ({_in_short(text)})"
        ), False
    if "WRONG_VERSION_NUMBER" in text or "RECORD_LAYER" in text:
        return f"{endpoint} answers without TLS; is its address http:// rather than https://?", False
    if isinstance(error, ssl.SSLError) or "SSL" in text or "TLS" in text:
        return f"no secure connection to {endpoint} ({_in_short(text)}); see SSL_CERT_FILE and the proxies", False
    proxy = _proxy_for(endpoint)
    if proxy is not None:
        name, value = proxy
        return (
            f"the proxy of {name}, {_hidden(value)}, does not connect ({_in_short(text)}); correct or unset {name}",
            True,
        )
    if endpoint.rstrip("/") != "https://huggingface.co":
        return f"HF_ENDPOINT, {endpoint}, cannot be reached ({_in_short(text)}); correct or unset it", True
    return f"the Hub cannot be reached ({_in_short(text)}); connect once, or give a folder with the network", True


def why_no_cache():
    """Say why nothing can be downloaded into the cache, with the variable that names it; None where it can."""
    folder = Path(constants.HF_HUB_CACHE)
    probe = folder / f".lesionseg-{secrets.token_hex(4)}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.touch(exist_ok=False)
    except OSError as error:
        name = next((name for name, _ in _environment(_CACHES)), None)
        where = f"{name} puts it there" if name else "it is the default"
        return (
            f"the Hub's cache {folder} cannot be written ({error.strerror or error}; {where}); set HF_HOME to a folder "
            "of your own"
        )
    finally:
        with suppress(OSError):
            probe.unlink()
    return None


def _environment(names):
    for name in names:
        for spelled in (name, name.lower()):
            if os.environ.get(spelled):
                yield spelled, os.environ[spelled]


def _proxy_for(endpoint):
    """Name and value of the variable whose proxy requests to an endpoint go through."""
    place = urlsplit(endpoint)
    if urllib.request.proxy_bypass(place.netloc):
        return None
    return next(iter(_environment((f"{place.scheme.upper()}_PROXY", "ALL_PROXY"))), None)


def _hidden(proxy):
    """The address of a proxy without the password in it."""
    return re.sub(r"(?<=//)[^/@]*@|^[^/@]*@", "...@", proxy)


def _in_short(text):
    return text if len(text) <= 160 else f"{text[:160]} ..."
