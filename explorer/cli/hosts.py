"""The app's address, host names and visitor permissions."""

import argparse
import ipaddress
import os
import re
import socket
from dataclasses import dataclass, field

from explorer.errors import ConfigError

LOOPBACK = "127.0.0.1"
LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1")
_HOST = re.compile(r"(\*\.)?[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?")
_HEADER = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,63}")
_PART = r"(?!\.{1,2}(/|$))[A-Za-z0-9._~-]+"
"""Pattern of a path; browsers remove `.` and `..` before a request."""
_BASE_PATH = re.compile(f"/*{_PART}(/{_PART})*/*")


@dataclass(frozen=True, kw_only=True)
class Listening:
    """Network settings of the server."""

    address: str
    names: tuple[str, ...] = ()
    """Host names, beside the loopback ones, under which browsers may reach the app."""
    base_path: str = ""
    """`/moe` for an app at example.org/moe, else empty."""
    flags: tuple[str, ...] = ()
    """Options for `streamlit run`."""
    environment: dict[str, str] = field(default_factory=dict)

    def url(self, port: int) -> str:
        """The app's URL."""
        host = next((name for name in self.names if "*" not in name), self.address)
        return f"http://{f'[{host}]' if ':' in host else host}:{port}{self.base_path}"


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of `app` that `listening` reads."""
    parser.add_argument("--address", default=LOOPBACK, help="IP address to listen on (default: %(default)s)")
    parser.add_argument(
        "--allow-host",
        action="append",
        default=[],
        metavar="NAME",
        help="a name under which browsers may reach the app, e.g. lab.example.org; may be repeated",
    )
    parser.add_argument(
        "--behind-proxy",
        metavar="HEADER",
        help="a header that a reverse proxy adds to every request, e.g. X-Forwarded-Host; requests without "
        "it are refused",
    )
    parser.add_argument(
        "--base-path",
        metavar="PATH",
        help="path of the app below its host, e.g. /moe (default: STREAMLIT_SERVER_BASE_URL_PATH)",
    )
    parser.add_argument(
        "--read-only", action="store_true", help="read-only: no training and no switching of rules"
    )


def listening(options: argparse.Namespace) -> Listening:
    """Check the options. Raises ConfigError, above all for an address beyond this machine without a name."""
    address = str(options.address)
    names = tuple(map(_host_name, options.allow_host))
    header = options.behind_proxy
    if header is not None:
        _checked("--behind-proxy", header, _HEADER, "the name of a header", "write X-Forwarded-Host")
    if not _is_loopback(address) and not names and header is None:
        raise ConfigError(
            "--address",
            address,
            "can be reached from other machines, and then any site that a visitor opens could use the app "
            "through the visitor's browser",
            "name the host with --allow-host NAME, or the proxy's header with --behind-proxy HEADER",
        )
    _check_address(address)
    base = options.base_path if options.base_path is not None else os.environ.get(BASE_PATH_VARIABLE, "")
    if base.strip("/"):
        _checked("--base-path", base, _BASE_PATH, "a path such as /moe", "leave out everything but the path")
    path = base.strip("/")
    allowed = ("*",) if header and not names else (*LOOPBACK_NAMES, *names)
    flags = ["--server.address", address, "--server.baseUrlPath", path]
    for name in allowed:
        flags += ["--server.allowedHosts", name]
    environment = {"EXPLORER_PROXY_HEADER": header} if header else {}
    if options.read_only:
        environment["EXPLORER_READ_ONLY"] = "1"
    return Listening(
        address=address,
        names=names,
        base_path=f"/{path}" if path else "",
        flags=tuple(flags),
        environment=environment,
    )


BASE_PATH_VARIABLE = "STREAMLIT_SERVER_BASE_URL_PATH"


def _checked(option: str, text: str, pattern: "re.Pattern[str]", what: str, remedy: str) -> str:
    if not pattern.fullmatch(text):
        raise ConfigError(option, text, f"must be {what}", remedy)
    return text


def _host_name(text: str) -> str:
    """A name or an address as browsers write it, an IPv6 one without its brackets."""
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        what = "a host name or IP address without scheme and port"
        return _checked("--allow-host", text, _HOST, what, "write --allow-host lab.example.org")


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return address == "localhost"


def _check_address(address: str) -> None:
    """Reject an address that this machine cannot listen on."""
    try:
        take_port(address, 0)
    except (OSError, ValueError) as error:
        raise ConfigError(
            "--address", address, "is not an address of this machine", f"write {LOOPBACK}, or one that it has"
        ) from error


def take_port(address: str, port: int) -> None:
    """Bind a port briefly, 0 for any. Raises OSError if it is in use, ValueError for a host name."""
    # A numeric address: resolving a name can be slow, and depends on another machine.
    number = ipaddress.ip_address(LOOPBACK if address == "localhost" else address)
    with socket.socket(socket.AF_INET6 if number.version == 6 else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if number.version == 6:
            # As the server does: IPv6 only, since the same port at an IPv4 address is separate.
            probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        probe.bind((str(number), port))
