"""The TLS context for one broker, also on a box whose clock stands in 1970."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Final

from edge_app.clock import WallQuality
from edge_app.delivery.options import CheckDates
from edge_app.errors import ConfigError
from edge_app.secret_files import refuse_open

if TYPE_CHECKING:
    from edge_app.delivery.options import TlsOptions

#: X509_V_FLAG_NO_CHECK_TIME of OpenSSL (x509_vfy.h); Python's `ssl` has no name for it.
_NO_CHECK_TIME: Final = 0x200000


class _ClosingSocket(ssl.SSLSocket):
    """Closes itself when the handshake fails; paho leaves that to the garbage collector."""

    def do_handshake(self, block: bool = False) -> None:  # noqa: FBT001, FBT002 - the signature it overrides
        """Shake hands, or close."""
        try:
            super().do_handshake(block)
        except BaseException:
            self.close()
            raise


def context_for(options: TlsOptions, *, quality: WallQuality) -> ssl.SSLContext:
    """Return a client's context: TLS 1.2 or newer, host name checked, and dates as the operator chose.

    Args:
        options: whom to believe and who we are.
        quality: how far the wall clock is to be believed now.

    Raises:
        ConfigError: a certificate or key cannot be read, or others than its owner may read the key.
    """
    if options.key_file is not None:
        refuse_open(options.key_file, what="the private key")
    try:
        context = ssl.create_default_context(cafile=None if options.ca_file is None else str(options.ca_file))
        if options.cert_file is not None:
            context.load_cert_chain(
                str(options.cert_file), None if options.key_file is None else str(options.key_file)
            )
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(
            f"the TLS files cannot be used: {error}",
            fix="check ca_file, cert_file and key_file: PEM, readable, matching",
        ) from error
    context.sslsocket_class = _ClosingSocket
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if options.check_dates is CheckDates.WHEN_SYNCHRONISED and quality is not WallQuality.SYNC:
        context.verify_flags |= ssl.VerifyFlags(_NO_CHECK_TIME)
    return context
