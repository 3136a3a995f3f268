"""Checks before a gateway starts: who could use it, its certificate, and its lists."""

from __future__ import annotations

import logging
import os

from airflow_provider_mlops.data.names import list_names, suggest
from airflow_provider_mlops.errors import InvalidSpecError
from airflow_provider_mlops.serving.client.credentials import KEY_VARIABLE
from airflow_provider_mlops.serving.gateway.access import keyring
from airflow_provider_mlops.serving.gateway.access.access import open_rights
from airflow_provider_mlops.serving.gateway.access.addresses import is_loopback
from airflow_provider_mlops.serving.gateway.access.doors import EXEMPTIONS
from airflow_provider_mlops.serving.gateway.access.origins import check_origins
from airflow_provider_mlops.serving.gateway.access.tls import open_certificates
from airflow_provider_mlops.serving.gateway.settings import Settings

log = logging.getLogger(__name__)

_MIN_KEY_LENGTH = 32


def check(settings: Settings) -> None:
    """Check who could use the gateway, make its local key if it has no other, and log who needs no key.

    Raises InvalidSpecError, for example if the gateway would serve other machines without keys.
    """
    is_local = is_loopback(settings.host)
    if not (is_local or settings.open or keyring.are_given(settings.keys)):
        raise InvalidSpecError(
            "host",
            settings.host,
            "other machines can reach this address, and the gateway has no keys. Make a key file with "
            f"`airflow-mlops keys create` and name it with --keys, or set {KEY_VARIABLE}, or let everyone predict with "
            "--open",
        )
    for name in settings.without_key:
        if name not in EXEMPTIONS:
            raise InvalidSpecError(
                "without_key", name, f"it must be one of {list_names(EXEMPTIONS)}. {suggest(name, EXEMPTIONS)}"
            )
    check_origins(settings.cors_origins)
    has_tls = open_certificates(settings) is not None
    keyring.open_keyring(settings.keys, settings.storage_uri)
    _log_doors(settings, is_local, has_tls)


def _log_doors(settings: Settings, is_local: bool, has_tls: bool) -> None:
    rights = open_rights(settings)
    if "feedback" in rights:
        log.info(
            "Everyone on this machine may send predictions and feedback without a key, because the gateway listens on "
            "%s%s. Administration needs a key. Set --keys to close the other doors",
            settings.host,
            " and --open is set" if settings.open else "",
        )
    elif rights:
        log.warning(
            "Everyone who reaches %s may send predictions without a key, because --open is set. Feedback and "
            "administration need a key",
            settings.host,
        )
    else:
        log.info("Every request needs a key")
    if 0 < len(os.environ.get(KEY_VARIABLE, "").strip()) < _MIN_KEY_LENGTH:
        log.warning(
            "The key in %s has fewer than %d characters and could be guessed. Use a random one",
            KEY_VARIABLE,
            _MIN_KEY_LENGTH,
        )
    if not (is_local or has_tls):
        log.warning(
            "Keys and predictions travel to %s without encryption. Set --tls-certificate and --tls-key, unless a proxy "
            "encrypts them",
            settings.host,
        )
