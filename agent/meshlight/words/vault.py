"""What the doctor says of the keyring, where the keys of backends are kept."""

import asyncio
from collections.abc import Sequence

from meshlight.domain.backend import Backend
from meshlight.domain.errors import SecretError
from meshlight.store.places import Places
from meshlight.store.secrets import Secrets
from meshlight.words.finding import Finding, fine, look, wrong

NOBODY = "doctor"
"""A backend that has no secret: asking for its shows whether the keyring answers, and changes nothing."""
FIXES = (
    "Install and unlock a keyring (GNOME Keyring, KWallet, KeePassXC); or give each key in the environment as "
    "MESHLIGHT_SECRET_<ID>; or start the service with --insecure-storage."
)


def keyring_state(places: Places, backends: Sequence[Backend]) -> list[Finding]:
    """Judge whether the keys of backends can be kept, and whether those that should be there are."""
    keyed = [backend for backend in backends if backend.has_secret]
    return asyncio.run(_look(places, keyed))


async def _look(places: Places, keyed: Sequence[Backend]) -> list[Finding]:
    is_plain = places.secrets_file.exists()
    secrets = Secrets(file=places.secrets_file, insecure=is_plain)
    found: list[Finding] = []
    try:
        await secrets.get(NOBODY)
    except SecretError as error:
        if not keyed:
            return [look(f"{error.title} A backend that wants a key could not keep it.", FIXES)]
        found.append(look(error.title, FIXES))
    else:
        found.append(
            look(f"Keys of backends are kept in a plain file, {places.secrets_file}.", "A keyring is safer.")
            if is_plain
            else fine("The keyring answers.")
        )
    for backend in keyed:
        fact = await secrets.look(backend.id)
        if fact.state != "present":
            found.append(wrong(f"The key of {backend.name} can't be had: {fact.text}", fact.fix))
    return found
